//! A page in Chromium, used as a person would.

use std::time::Duration;

use thirtyfour::prelude::WebElement;
use thirtyfour::{By, WebDriver};
use tokio::time::Instant;
use webnibble_common::options::{GpuProfile, LaunchOptions};
use webnibble_host::browser::{Browser, BrowserConfig};
use webnibble_tests::PATIENCE;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A page in a browser of its own, with WebGPU on the software adapter.
pub(crate) struct Page {
    browser: Browser,
}

impl Page {
    /// Opens a URL.
    pub(crate) async fn open(url: &str) -> Self {
        let launch = LaunchOptions { gpu: Some(GpuProfile::Software), ..LaunchOptions::default() };
        let browser = Browser::start(&BrowserConfig::new(launch), url).await.unwrap();
        browser.open(url).await.unwrap();
        Self { browser }
    }

    /// What drives it.
    pub(crate) fn driver(&self) -> &WebDriver {
        self.browser.webdriver()
    }

    /// The first element of a CSS selector.
    pub(crate) async fn find(&self, selector: &str) -> WebElement {
        let found = self.driver().find(By::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("{selector}: {error}"))
    }

    /// The text of the first element, as it is seen.
    pub(crate) async fn text(&self, selector: &str) -> String {
        self.find(selector).await.text().await.unwrap()
    }

    /// The texts of all elements.
    pub(crate) async fn texts(&self, selector: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for element in self.driver().find_all(By::Css(selector)).await.unwrap() {
            texts.push(element.text().await.unwrap());
        }
        texts
    }

    /// Waits until there is an element.
    pub(crate) async fn wait(&self, what: &str, selector: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.driver().find_all(By::Css(selector)).await.unwrap().is_empty() {
            if Instant::now() > deadline {
                panic!("{what}: not within {} s:\n{}", PATIENCE.as_secs(), self.text("body").await);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Clicks on an element.
    pub(crate) async fn click(&self, selector: &str) {
        self.find(selector).await.click().await.unwrap();
    }

    /// Replaces what stands in a field.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        let field = self.find(selector).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Chooses from a list, by the value or the beginning of the text.
    pub(crate) async fn choose(&self, list: &str, wanted: &str) {
        for option in self.find(list).await.find_all(By::Css("option")).await.unwrap() {
            let (value, text) = (option.value().await.unwrap().unwrap_or_default(), option.text().await.unwrap());
            if value == wanted || text.starts_with(wanted) {
                assert!(option.is_enabled().await.unwrap(), "{text} can be chosen");
                return option.click().await.unwrap();
            }
        }
        panic!("{list} has no {wanted}: {}", self.text(list).await);
    }

    /// Ends the browser.
    pub(crate) async fn close(self) {
        self.browser.quit().await;
    }
}
