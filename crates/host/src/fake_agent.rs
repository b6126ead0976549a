//! For tests: a page without a browser, on the other end of a real socket.

use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use webnibble_common::capabilities::Capabilities;
use webnibble_common::tensor::{DType, Tensor, element_count};
use webnibble_common::wire::{AgentMessage, Envelope, HostMessage, TensorInfo, frame};

use crate::assets::Assets;
use crate::server::{DEFAULT_ADDRESS, Server};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server with the two pages, as short as they can be.
pub(crate) async fn server() -> Server {
    Server::start(DEFAULT_ADDRESS, assets(), None).await.unwrap()
}

/// The files of `tests/page`.
pub(crate) fn assets() -> Assets {
    Assets::under(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page")).unwrap()
}

/// The agent's end of a socket.
pub(crate) struct FakeAgent {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// From `welcome`.
    pub(crate) resume_key: String,
}

impl FakeAgent {
    /// Opens a socket from the page's origin, or from another one.
    pub(crate) async fn dial(server: &Server, origin: Option<&str>) -> Result<Self, Error> {
        let address = server.address();
        let mut request = format!("ws://{address}/agent").into_client_request()?;
        let origin = origin.map_or(format!("http://{address}"), str::to_owned);
        request.headers_mut().insert("origin", origin.parse().unwrap());
        // Larger frames than the server takes, to see them refused.
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await?;
        Ok(Self { socket, resume_key: String::new() })
    }

    /// Opens a socket and shakes hands with a token or a key.
    pub(crate) async fn connect(server: &Server, token: &str, resume_key: Option<&str>) -> Self {
        let mut agent = Self::dial(server, None).await.unwrap();
        match agent.hello(token, resume_key).await {
            HostMessage::Welcome { resume_key, .. } => agent.resume_key = resume_key,
            other => panic!("expected welcome, found {other:?}"),
        }
        agent
    }

    /// Connects and tells what it can do: nothing.
    pub(crate) async fn ready(server: &Server, token: &str) -> Self {
        let mut agent = Self::connect(server, token, None).await;
        agent.tell(0, AgentMessage::Capabilities { capabilities: Box::new(Capabilities::default()) }).await;
        agent
    }

    /// Answers every request in its turn as `answer` says, as long as the socket is open. Outputs of a run are numbers that
    /// count up.
    pub(crate) fn serve(mut self, mut answer: impl FnMut(&HostMessage) -> AgentMessage + Send + 'static) {
        tokio::spawn(async move {
            while let Some(message) = self.next().await {
                let Message::Text(text) = message else { continue };
                let asked = Envelope::<HostMessage>::from_text(&text).unwrap();
                if let HostMessage::Ping { payload } = &asked.body {
                    self.tell(asked.id, AgentMessage::Pong { payload: payload.clone() }).await;
                } else if asked.id != 0 {
                    let answer = answer(&asked.body);
                    if let AgentMessage::Ran { report, .. } = &answer {
                        self.send_outputs(asked.id, &report.outputs).await;
                    }
                    self.tell(asked.id, answer).await;
                }
            }
        });
    }

    async fn send_outputs(&mut self, id: u64, outputs: &[TensorInfo]) {
        for (part, output) in outputs.iter().enumerate() {
            assert_eq!(output.dtype, DType::F32, "outputs are floats");
            let values = (0..element_count(&output.shape)).map(|index| (index + 1) as f32).collect();
            let bytes = Tensor::f32(output.shape.clone(), values).unwrap().to_le_bytes();
            for frame in frame::split(frame::FrameKind::Output, id, part as u32, &bytes) {
                self.send(Message::Binary(frame.into())).await;
            }
        }
    }

    /// Says hello and returns the answer.
    pub(crate) async fn hello(&mut self, token: &str, resume_key: Option<&str>) -> HostMessage {
        let (token, resume_key) = (token.to_owned(), resume_key.map(str::to_owned));
        self.tell(1, AgentMessage::Hello { token, resume_key, agent_version: env!("CARGO_PKG_VERSION").into() }).await;
        self.hear().await.body
    }

    pub(crate) async fn tell(&mut self, id: u64, body: AgentMessage) {
        self.send(Message::Text(Envelope::new(id, body).to_text().unwrap().into())).await;
    }

    /// Sends anything at all. A socket that the host closed is no failure of the test.
    pub(crate) async fn send(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// The next text message, heartbeats left out.
    pub(crate) async fn hear(&mut self) -> Envelope<HostMessage> {
        loop {
            match self.next().await {
                Some(Message::Text(text)) => {
                    let envelope = Envelope::<HostMessage>::from_text(&text).unwrap();
                    if envelope.id != 0 || !matches!(envelope.body, HostMessage::Ping { .. }) {
                        return envelope;
                    }
                }
                other => panic!("expected a text frame, found {other:?}"),
            }
        }
    }

    /// The next message; `None` at the socket's end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.socket.next());
        match next.await.expect("the host says something") {
            Some(Ok(Message::Close(_)) | Err(_)) | None => None,
            Some(Ok(message)) => Some(message),
        }
    }
}
