# Runs etcd and kube-apiserver for as long as a test process uses them, and cleans up after itself.
#
# Every test process holds a shared lock on `users.lock` until it ends, however it ends. Five seconds
# without one of them, and this script ends what it started, by process id, and removes the folder.
set -u
etcd=$1 apiserver=$2 home=$3 etcd_port=$4 peer_port=$5 api_port=$6
trap : INT TERM HUP

"$etcd" --data-dir "$home/etcd" --unsafe-no-fsync --log-level error \
  --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
  --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
  --initial-cluster "default=http://127.0.0.1:$peer_port" >"$home/etcd.log" 2>&1 &
etcd_id=$!

"$apiserver" --etcd-servers "http://127.0.0.1:$etcd_port" --bind-address 127.0.0.1 --secure-port "$api_port" \
  --cert-dir "$home/tls" --token-auth-file "$home/tokens.csv" --authorization-mode AlwaysAllow \
  --service-account-issuer https://api.test --service-account-key-file "$home/account.pub" \
  --service-account-signing-key-file "$home/account.key" --service-cluster-ip-range 10.96.0.0/16 \
  >"$home/apiserver.log" 2>&1 &
apiserver_id=$!

while :; do
  flock --exclusive "$home/../users.lock" true
  sleep 5
  exec 9>>"$home/../users.lock"
  flock --exclusive --nonblock 9 && break
  exec 9>&-
done

rm -f "$home/ready"
kill -KILL "$apiserver_id" "$etcd_id"
wait
rm -rf "$home"
