//! One WebSocket, from opening to closing, as events of the page's loop.

use js_sys::{ArrayBuffer, JsString};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};
use webnibble_common::wire::{AgentMessage, Envelope};

/// What a socket tells.
pub(super) enum SocketEvent {
    /// The connection stands.
    Opened,
    /// A text frame came.
    Text(String),
    /// A binary frame came.
    Binary(ArrayBuffer),
    /// The connection ended, or never stood.
    Closed(String),
}

/// A frame on its way out.
#[derive(Clone)]
pub(super) enum Frame {
    /// A message.
    Text(String),
    /// Tensor bytes.
    Binary(ArrayBuffer),
}

impl Frame {
    /// A message of the page itself, under the id of a request or 0.
    pub(super) fn of(id: u64, body: AgentMessage) -> Self {
        Frame::Text(Envelope::new(id, body).to_text().expect("the page's own messages are short"))
    }

    /// Bytes of the frame.
    pub(super) fn len(&self) -> usize {
        match self {
            Frame::Text(text) => text.len(),
            Frame::Binary(bytes) => bytes.byte_length() as usize,
        }
    }
}

/// A socket; silent and closed once it is dropped.
pub(super) struct Socket {
    socket: WebSocket,
    _on_open: Closure<dyn Fn()>,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_close: Closure<dyn Fn(CloseEvent)>,
}

impl Socket {
    /// Begins to connect; everything that happens goes to `tell`.
    pub(super) fn connect(url: &str, tell: impl Fn(SocketEvent) + Clone + 'static) -> Result<Self, JsValue> {
        let socket = WebSocket::new(url)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let (opened, came, closed) = (tell.clone(), tell.clone(), tell);
        let on_open = Closure::<dyn Fn()>::new(move || opened(SocketEvent::Opened));
        let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            came(match event.data().dyn_into::<JsString>() {
                Ok(text) => SocketEvent::Text(text.into()),
                Err(bytes) => SocketEvent::Binary(bytes.unchecked_into()),
            });
        });
        let on_close = Closure::<dyn Fn(CloseEvent)>::new(move |event: CloseEvent| {
            let reason = match event.reason() {
                reason if reason.is_empty() => format!("code {}", event.code()),
                reason => format!("code {}: {reason}", event.code()),
            };
            closed(SocketEvent::Closed(reason));
        });
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Ok(Self { socket, _on_open: on_open, _on_message: on_message, _on_close: on_close })
    }

    /// Sends a frame. A socket that is closing drops it: its end is an event of its own.
    pub(super) fn send(&self, frame: &Frame) {
        let _ = match frame {
            Frame::Text(text) => self.socket.send_with_str(text),
            Frame::Binary(bytes) => self.socket.send_with_array_buffer(bytes),
        };
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // Closing what is closed does nothing.
        let _ = self.socket.close();
    }
}
