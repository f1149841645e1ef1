//! The dashboard in a real browser: it loads, counts, searches, explains on a click, and shows hostile text as text.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod browser;
mod command;
mod gateway;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use browser::Browser;
use gateway::Running;

const RULES: &str =
    "    - {name: cart, match: [{uri: {prefix: /cart}}], route: [{destination: {host: cart, port: {number: 80}}}]}
    - name: canary
      match: [{uri: {prefix: /canary}}]
      route:
        - {destination: {host: cart, port: {number: 80}}, weight: 80}
        - {destination: {host: shadow, port: {number: 80}}, weight: 20}
    - {name: broken, match: [{uri: {prefix: /broken}}], directResponse: {status: 503}}
";

/// With one more manifest, or none.
fn shop(more: &str) -> String {
    let rules = command::virtual_service("shop", "[shop.example]", RULES);
    let services = [command::service("cart"), command::service("shadow")];
    command::manifests(&[&command::door("[shop.example]"), &rules, &services[0], &services[1], more])
}

/// Two requests an hour for each user on one path.
const LIMITED: &str = r#"apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: limits, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  url: oci://registry.example.com/rate-limit:1
  failStrategy: FAIL_CLOSE
  pluginConfig:
    rules:
      - {name: per-user, match: [{uri: {prefix: /cart}}], key: [{header: x-user}], limit: {requests: 2, per: 1h}}
"#;

/// Markup in every place a client can put it.
const HOSTILE: &str = "<img/src=x/onerror=document.title='owned'>";

#[test]
fn the_dashboard_works_in_a_browser() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = command::in_folder(&[("all.yaml", &shop(""))]);
    let running = Running::start(&["-f", folder.path().to_str().unwrap()]);
    for path in ["/cart/1", "/canary", "/canary", "/canary", "/broken", "/nothing"] {
        running.status(path);
    }
    running.send(&format!(
        "GET /cart/{HOSTILE} HTTP/1.1\r\nhost: shop.example\r\nx-evil: {HOSTILE}\r\nconnection: close\r\n\r\n"
    ));
    browser.open(&format!("http://{}/", running.admin));

    // It is live, and what was asked is counted.
    browser.waits_for("document.querySelector('#state').textContent === 'LIVE'");
    browser.waits_for("document.querySelectorAll('#traffic tbody tr').length >= 4");
    browser.waits_for("document.querySelector('#traffic').innerText.includes('broken')");
    browser.waits_for("document.querySelector('#splits').innerText.includes('weight 80.0 %')");
    browser.waits_for("document.querySelectorAll('#chain li').length >= 3");

    // The table of routes can be searched.
    browser.types("#search", "canary shadow");
    browser.waits_for("document.querySelectorAll('#routes tbody tr').length === 1");
    browser.waits_for("document.querySelector('#found').textContent.startsWith('1 of 3')");

    // A last request is one click away from its story.
    browser.clicks("[...document.querySelectorAll('#recent button')].find((one) => one.getAttribute('aria-label').includes('/broken'))");
    browser.waits_for("document.querySelector('#verdict').textContent === '503 by route broken'");
    browser.waits_for("document.querySelector('#story').textContent.includes('yes  broken')");

    // And one by hand.
    browser.types("#ask [name=url]", "http://shop.example/nowhere");
    browser.clicks("document.querySelector('#ask button[type=submit]')");
    browser.waits_for("document.querySelector('#verdict').textContent.startsWith('404: no rule takes this path')");

    // Markup of a client's is text.
    browser.waits_for("document.querySelector('#recent').innerText.includes('onerror')");
    browser.clicks("[...document.querySelectorAll('#recent button')].find((one) => one.getAttribute('aria-label').includes('onerror'))");
    browser.waits_for("document.querySelector('#story').textContent.includes('x-evil: <img')");
    assert_eq!(browser.says("document.title"), "host-sim");
    assert_eq!(browser.says("document.querySelectorAll('main img').length"), 0);

    // Nothing came from elsewhere.
    let foreign =
        "performance.getEntriesByType('resource').filter((one) => !one.name.startsWith(location.origin)).length";
    assert_eq!(browser.says(foreign), 0);

    // Everything that can be used has a name, by keyboard too.
    let nameless = "[...document.querySelectorAll('button,input,textarea')].filter((one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel)).length";
    assert_eq!(browser.says(nameless), 0);
    assert_eq!(
        browser.says("[...document.querySelectorAll('[tabindex]')].filter((one) => one.tabIndex > 0).length"),
        0
    );
}

/// Requests of every kind, one after another, until it is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn on(address: &str) -> Load {
        let (address, stop) = (address.to_owned(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for path in ["/canary", "/broken", "/nothing", "/cart"] {
                    gateway::exchange(
                        &address,
                        &format!(
                            "GET {path} HTTP/1.1\r\nhost: shop.example\r\nx-user: ann\r\nconnection: close\r\n\r\n"
                        ),
                    );
                }
            }
        });
        Load { stop, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[test]
fn limits_are_seen_under_load_on_a_phone_and_by_keyboard() {
    let wasm = command::module("rate-limit");
    let Some(mut browser) = Browser::start() else { return };
    let folder = command::in_folder(&[("all.yaml", &shop(LIMITED))]);
    let module = format!("limits={wasm}");
    let running = Running::start(&["-f", folder.path().to_str().unwrap(), "--wasm", &module]);
    browser.open(&format!("http://{}/", running.admin));
    browser.waits_for("document.querySelector('#state').textContent === 'LIVE'");

    // Nobody has used anything: all is left.
    browser.waits_for("document.querySelector('#tokens tbody').innerText.includes('istio-system/limits')");
    browser.waits_for("document.querySelector('#tokens tbody').innerText.includes('2 of 2')");

    // Under load the page goes on, and the limit is seen to bite.
    let load = Load::on(&running.address);
    browser.waits_for("document.querySelector('#tokens tbody').innerText.includes('0 of 2')");
    browser.waits_for("document.querySelector('#tokens td.bad').innerText.includes('0 of 2')");
    browser.waits_for("/\\d+ (min|h)/.test(document.querySelector('#tokens tbody').innerText)");
    browser.waits_for("document.querySelector('#counters').innerText.includes('denied')");
    browser.waits_for("parseFloat(document.querySelector('#rate').textContent) > 1");
    browser.waits_for("document.querySelectorAll('#traffic svg.spark path').length >= 4");
    browser.screenshot("dashboard.png");
    // On a phone nothing is cut off sideways.
    browser.phone();
    browser.waits_for("document.documentElement.scrollWidth <= window.innerWidth");
    browser.screenshot("dashboard-phone.png");
    browser.desk();
    drop(load);

    // By keyboard alone: past everything to the box, a URL, and its story.
    browser.presses("Tab");
    browser.waits_for(
        "document.activeElement.className === 'skip' && document.activeElement.getBoundingClientRect().left >= 0",
    );
    browser.presses("Enter");
    browser.waits_for("document.activeElement.id === 'explain'");
    browser.presses("Tab");
    browser.waits_for("document.activeElement.name === 'method'");
    browser.presses("Tab");
    browser.waits_for(
        "document.activeElement.name === 'url' && getComputedStyle(document.activeElement).outlineStyle !== 'none'",
    );
    browser.inserts("http://shop.example/broken");
    browser.presses("Enter");
    browser.waits_for("document.querySelector('#verdict').textContent === '503 by route broken'");
    browser.screenshot("dashboard-keyboard.png");
}
