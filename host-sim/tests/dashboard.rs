//! The dashboard in a real browser: it loads, counts, searches, explains on a click, and shows hostile text as text.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod browser;
mod command;
mod gateway;

use browser::Browser;
use gateway::Running;

const MANIFESTS: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: door, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["shop.example"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: ["shop.example"]
  gateways: [door]
  http:
    - {name: cart, match: [{uri: {prefix: /cart}}], route: [{destination: {host: cart, port: {number: 80}}}]}
    - name: canary
      match: [{uri: {prefix: /canary}}]
      route:
        - {destination: {host: cart, port: {number: 80}}, weight: 80}
        - {destination: {host: shadow, port: {number: 80}}, weight: 20}
    - {name: broken, match: [{uri: {prefix: /broken}}], directResponse: {status: 503}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: shadow, namespace: shop}
spec: {selector: {app: shadow}, ports: [{name: http, port: 80}]}
"#;

/// Markup in every place a client can put it.
const HOSTILE: &str = "<img/src=x/onerror=document.title='owned'>";

#[test]
fn the_dashboard_works_in_a_browser() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = command::in_folder(&[("all.yaml", MANIFESTS)]);
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

    browser.screenshot("dashboard.png");
    // On a phone nothing is cut off sideways.
    browser.phone();
    browser.waits_for("document.documentElement.scrollWidth <= window.innerWidth");
    browser.screenshot("dashboard-phone.png");
}
