//! Subcommand: cargo xtask open

use std::io::ErrorKind;

use health::tunnel::{Address, Forward, ForwardEvent, forward};
use tokio::net::TcpListener;

use crate::context::Context;
use crate::diff::NAMESPACE;
use crate::target::{self, Selection, Target};
use crate::{exit, output};

/// Forward a local port to MLflow, whichever pod serves it at the moment.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask open --env kind               http://localhost:5000, until Ctrl-C
  cargo xtask open --env kind --port 0      a free port, printed on stdout")]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// The local port; 0 takes a free one.
    #[arg(long, default_value_t = 5000)]
    port: u16,
}

/// Serves the port until it is interrupted. The pod may be replaced meanwhile.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let target = Target::of(context, &arguments.selection)?;
    target::run_briefly(async {
        let listener = listen(arguments.port).await?;
        let client = target.connect().await?;
        let url = format!("http://localhost:{}", listener.local_addr()?.port());
        output::result(context, &url, serde_json::json!({ "url": url }));
        context.log.note("forwarding until Ctrl-C");
        let served = Forward::new(Address::new(NAMESPACE, "mlflow", 5000));
        let on_event = |event: &ForwardEvent| tell(context, event);
        // Ctrl-C is how this one is meant to end.
        tokio::select! {
            result = forward(listener, client, served, on_event) => Ok(result?),
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

/// Only this machine reaches the port.
async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => exit::error(
            exit::PREREQUISITE,
            format!(
                "port {port} of this machine is taken\nhint: --port 0 takes a free one; `ss -ltnp 'sport = :{port}'` tells who has it"
            ),
        ),
        _ => anyhow::Error::new(error).context(format!("cannot listen on port {port}")),
    })
}

fn tell(context: &Context, event: &ForwardEvent) {
    match event {
        ForwardEvent::Endpoints(endpoints) if endpoints.is_empty() => {
            context.log.note("no pod is ready; connections wait for one");
        }
        ForwardEvent::Endpoints(endpoints) => {
            let pods: Vec<&str> = endpoints.iter().map(|it| it.pod.as_str()).collect();
            context.log.note(format!("forwarding to {}", pods.join(", ")));
        }
        ForwardEvent::Connected(_) => {}
        ForwardEvent::Failed(why) => context.log.note(format!("a connection failed: {why}")),
    }
}
