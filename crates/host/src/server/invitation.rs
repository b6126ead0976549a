//! The right of one page to connect.

use std::sync::{Arc, Weak};

use tokio::sync::mpsc::UnboundedSender;

use super::page::PageEvent;
use super::shared::{Shared, lock};
use crate::disk::hex;

/// Bytes of randomness in a token or key: not to be guessed.
const SECRET_BYTES: usize = 16;

/// The right of one page to connect; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Invitation {
    shared: Weak<Shared>,
    resume_key: String,
    /// Stands in the page's URL.
    pub(crate) token: String,
}

/// Opens a door to the session that listens to `events`.
pub(super) fn invite(shared: &Arc<Shared>, events: UnboundedSender<PageEvent>) -> Invitation {
    let (token, resume_key) = (secret(), secret());
    lock(&shared.registry).open(token.clone(), resume_key.clone(), events);
    Invitation { shared: Arc::downgrade(shared), resume_key, token }
}

impl Drop for Invitation {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            lock(&shared.registry).close(&self.resume_key);
        }
    }
}

/// Random hexadecimal digits.
fn secret() -> String {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    hex(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ() {
        let (one, other) = (secret(), secret());
        assert_eq!(one.len(), 2 * SECRET_BYTES);
        assert_ne!(one, other);
    }
}
