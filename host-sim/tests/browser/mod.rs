//! Chromium without a window, driven over its debugging pipe.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: std::fs::File,
    from: BufReader<std::fs::File>,
    session: String,
    next: u64,
    _folder: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    /// Starts it; says loudly when there is none.
    pub(crate) fn start() -> Option<Browser> {
        let known = ["chromium", "chromium-browser", "google-chrome", "chrome"];
        let works =
            |name: &&&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
        let Some(program) = known.iter().find(works) else {
            eprintln!("SKIPPED: no chromium on this machine; the dashboard was not looked at");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let pipe = |name: &str| -> PathBuf {
            let path = folder.path().join(name);
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            path
        };
        let (to, from) = (pipe("to"), pipe("from"));
        let child = Command::new("sh")
            .arg("-c")
            .arg("exec \"$0\" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir=\"$1\" --remote-debugging-pipe about:blank 3<\"$2\" 4>\"$3\"")
            .args([Path::new(program), &folder.path().join("profile"), &to, &from])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let to = std::fs::OpenOptions::new().write(true).open(to).unwrap();
        let from = BufReader::new(std::fs::File::open(from).unwrap());
        let mut browser = Browser { child, to, from, session: String::new(), next: 0, _folder: folder };
        let target = browser.asks("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let session = browser.asks("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        session["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser.asks("Page.enable", json!({}));
        browser.size(1280, 1600, false);
        Some(browser)
    }

    fn asks(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut bytes = Vec::new();
            assert!(self.from.read_until(0, &mut bytes).unwrap() > 0, "the browser is gone");
            bytes.pop();
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == self.next {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    pub(crate) fn open(&mut self, url: &str) {
        self.asks("Page.navigate", json!({"url": url}));
    }

    /// What an expression is worth in the page; a promise is waited for.
    pub(crate) fn says(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let answer = self.asks("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page, which looks whenever it draws; gives up after a minute.
    pub(crate) fn waits_for(&mut self, condition: &str) {
        let promise = format!(
            "new Promise((done) => {{ const began = Date.now(); const look = () => {{ let is = false; try {{ is = {condition}; }} catch {{}} \
             if (is) done(true); else if (Date.now() - began > 60000) done(false); else setTimeout(look, 50); }}; look(); }})"
        );
        if self.says(&promise) != true {
            let page = self.says("document.body.innerText");
            panic!("never true: {condition}\n{}", page.as_str().unwrap_or_default());
        }
    }

    /// Clicks what the expression finds where a finger would.
    pub(crate) fn clicks(&mut self, found: &str) {
        let place = self.says(&format!(
            "(() => {{ const it = {found}; it.scrollIntoView({{block: 'center', behavior: 'instant'}}); const at = it.getBoundingClientRect(); \
             return [at.x + at.width / 2, at.y + at.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.asks("Input.dispatchMouseEvent", event);
        }
    }

    /// Replaces what stands in a field, key by key as far as the page can tell.
    pub(crate) fn types(&mut self, selector: &str, text: &str) {
        self.says(&format!(
            "(() => {{ const it = document.querySelector({selector:?}); it.focus(); it.select(); }})()"
        ));
        self.inserts(text);
    }

    /// Puts text where the focus is.
    pub(crate) fn inserts(&mut self, text: &str) {
        self.asks("Input.insertText", json!({"text": text}));
    }

    /// One key, `Tab` or `Enter`.
    pub(crate) fn presses(&mut self, key: &str) {
        let (code, text) = if key == "Enter" { (13, "\r") } else { (9, "") };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.asks("Input.dispatchKeyEvent", event);
        }
    }

    fn size(&mut self, width: u32, height: u32, mobile: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.asks("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// The size of a desk's screen.
    pub(crate) fn desk(&mut self) {
        self.size(1280, 1600, false);
    }

    /// The size of a phone.
    pub(crate) fn phone(&mut self) {
        self.size(390, 844, true);
    }

    /// Keeps a picture of the whole page in `target/`.
    pub(crate) fn screenshot(&mut self, name: &str) {
        let shot = self.asks("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let png = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(folder.join(name), png).unwrap();
    }
}
