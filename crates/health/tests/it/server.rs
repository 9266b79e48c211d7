//! An API server on the loopback interface that lists and watches, and can fail on demand.
//!
//! It speaks real HTTP, so that the client under test is the real one, with its connections, its
//! chunks and its broken pipes.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::broadcast,
    task::JoinHandle,
};

#[derive(Clone)]
struct Event {
    version: u64,
    plural: String,
    line: String,
}

struct State {
    objects: BTreeMap<(String, String), Value>,
    events: Vec<Event>,
    version: u64,
    /// Versions before this one are too old to watch from.
    oldest: u64,
    requests: Vec<String>,
    news: broadcast::Sender<Option<Event>>,
}

/// The server and its objects, which outlive its restarts.
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    port: u16,
    serving: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start() -> Server {
        let (news, _) = broadcast::channel(1000);
        let state = State {
            objects: BTreeMap::new(),
            events: Vec::new(),
            version: 1,
            oldest: 0,
            requests: Vec::new(),
            news,
        };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = Some(tokio::spawn(serve(listener, Arc::clone(&state))));
        Server { state, port, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> kube::Client {
        let config = kube::Config::new(self.url().parse().unwrap());
        kube::Client::try_from(config).unwrap()
    }

    /// Writes an object, and tells all who watch.
    pub(crate) fn put(&self, mut object: Value) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        let key = key_of(&object);
        let before = state.objects.insert(key.clone(), object.clone());
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        state.tell(key.0, json!({"type": kind, "object": object}));
    }

    pub(crate) fn delete(&self, object: &Value) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let key = key_of(object);
        let mut object = state.objects.remove(&key).unwrap();
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        state.tell(key.0, json!({"type": "DELETED", "object": object}));
    }

    /// Ends all watches as a server does every few minutes.
    pub(crate) fn close_watches(&self) {
        let _ = self.state.lock().unwrap().news.send(None);
    }

    /// Forgets all history: who watches from an older version has to list again.
    pub(crate) fn compact(&self) {
        let mut state = self.state.lock().unwrap();
        state.events.clear();
        state.oldest = state.version;
    }

    /// Stops listening and breaks all connections.
    pub(crate) async fn stop(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.abort();
        let _ = serving.await;
    }

    /// Listens again on the same port.
    pub(crate) async fn restart(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.serving = Some(tokio::spawn(serve(listener, Arc::clone(&self.state))));
    }

    /// The request lines up to now.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl State {
    fn tell(&mut self, plural: String, event: Value) {
        let event = Event { version: self.version, plural, line: format!("{event}\n") };
        self.events.push(event.clone());
        let _ = self.news.send(Some(event));
    }
}

fn key_of(object: &Value) -> (String, String) {
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let name = object["metadata"]["name"].as_str().unwrap();
    (format!("{kind}s"), name.to_owned())
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    // Dropped with this task, and all connections with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // A client that hangs up is no failure of the server.
            let _ = connection(socket, &state).await;
        });
    }
}

async fn connection(socket: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let mut request = String::new();
        if socket.read_line(&mut request).await? == 0 {
            return Ok(());
        }
        let mut header = String::from(".");
        while !header.trim().is_empty() {
            header.clear();
            socket.read_line(&mut header).await?;
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        state.lock().unwrap().requests.push(path.clone());
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let plural = path.rsplit('/').next().unwrap_or_default();
        if query.contains("watch=true") {
            let from = query.split('&').find_map(|it| it.strip_prefix("resourceVersion="));
            let from = from.and_then(|it| it.parse().ok()).unwrap_or(0);
            watch(&mut socket, state, plural, from).await?;
        } else {
            let (status, body) = answer(&state.lock().unwrap(), path, plural);
            let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            socket.write_all((head + &body).as_bytes()).await?;
        }
    }
}

fn answer(state: &State, path: &str, last: &str) -> (&'static str, Value) {
    if path == "/version" {
        let fields = [
            "buildDate",
            "compiler",
            "gitCommit",
            "gitTreeState",
            "gitVersion",
            "goVersion",
            "major",
            "minor",
            "platform",
        ];
        let version: BTreeMap<_, _> = fields.into_iter().map(|it| (it, "1")).collect();
        return ("200 OK", json!(version));
    }
    let before = path.rsplit('/').nth(1).unwrap_or_default().to_owned();
    if let Some(object) = state.objects.get(&(before.clone(), last.to_owned())) {
        return ("200 OK", object.clone());
    }
    if let Some(pod) = state.objects.get(&("pods".to_owned(), before.clone()))
        && last == "log"
        && pod["log"].is_string()
    {
        return ("200 OK", pod["log"].clone());
    }
    if path.contains("/log") || path.matches('/').count() > 6 {
        let status = json!({"kind": "Status", "code": 404, "status": "Failure", "message": "none"});
        return ("404 Not Found", status);
    }
    let items: Vec<&Value> =
        state.objects.iter().filter(|((plural, _), _)| plural == last).map(|(_, it)| it).collect();
    let version = state.version.to_string();
    ("200 OK", json!({"metadata": {"resourceVersion": version}, "items": items}))
}

async fn watch(
    socket: &mut BufReader<TcpStream>,
    state: &Mutex<State>,
    plural: &str,
    from: u64,
) -> std::io::Result<()> {
    let (old, mut news, is_gone) = {
        let state = state.lock().unwrap();
        let old: Vec<Event> = state.events.iter().filter(|it| it.version > from).cloned().collect();
        (old, state.news.subscribe(), from < state.oldest)
    };
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    if is_gone {
        let status = json!({"kind": "Status", "code": 410, "reason": "Expired"});
        chunk(socket, &format!("{}\n", json!({"type": "ERROR", "object": status}))).await?;
        return chunk(socket, "").await;
    }
    for event in old.iter().filter(|it| it.plural == plural) {
        chunk(socket, &event.line).await?;
    }
    while let Ok(Some(event)) = news.recv().await {
        if event.plural == plural {
            chunk(socket, &event.line).await?;
        }
    }
    chunk(socket, "").await
}

async fn chunk(socket: &mut BufReader<TcpStream>, text: &str) -> std::io::Result<()> {
    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
    socket.write_all(chunk.as_bytes()).await?;
    socket.flush().await
}
