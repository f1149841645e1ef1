//! Handshakes between both sides, with certificates made for the purpose.

use bytes::BytesMut;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SigningKey,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

/// A CA that signs what it is asked to.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
struct Leaf {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn leaf(&self, name: &str, tweak: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name);
        tweak(&mut params);
        Leaf { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A leaf of version 1, as `openssl x509 -req` without extensions makes them: no version, no extensions, signed anew.
    fn version1(&self, name: &str) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let made = named(name).signed_by(&key, &self.issuer).unwrap();
        let (outer, _) = der::take(made.der()).unwrap();
        let (signed, rest) = der::take(outer.content).unwrap();
        let (algorithm, _) = der::take(rest).unwrap();
        let (mut fields, mut left) = (Vec::new(), signed.content);
        while let Some((field, after)) = der::take(left) {
            if ![0xa0, 0xa3].contains(&field.tag) {
                fields.extend(field.whole);
            }
            left = after;
        }
        let signed = element(0x30, &fields);
        let signature = self.issuer.key().sign(&signed).unwrap();
        let bits = element(0x03, &[&[0][..], &signature].concat());
        let whole = element(0x30, &[&signed[..], algorithm.whole, &bits].concat());
        Leaf { certificate: pem(&whole), key: key.serialize_pem() }
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&[tag, 0x84], &length[length.len() - 4..], content].concat()
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

fn certificate(leaf: &Leaf) -> Value {
    json!({"certificate_chain": {"inline_string": leaf.certificate}, "private_key": {"inline_string": leaf.key}})
}

fn trusting(pem: &str) -> Value {
    json!({"trusted_ca": {"inline_string": pem}})
}

fn server(common: Value, require: bool) -> Result<Downstream, InvalidTls> {
    let context = json!({"common_tls_context": common, "require_client_certificate": require});
    Downstream::build(&serde_json::from_value(context).unwrap(), &Secrets::default())
}

fn client(context: Value) -> Upstream {
    Upstream::build(&serde_json::from_value(context).unwrap(), &Secrets::default()).unwrap()
}

/// What both ends make of a handshake, and of a first byte each way (a TLS 1.3 server judges only after the client is done).
async fn shake(
    server: &Downstream,
    client: &Upstream,
    ask: Ask<'_>,
) -> (Result<Session, Failure>, Result<(), Failure>) {
    let (ours, theirs) = duplex(64 * 1024);
    let serve = async {
        let (mut stream, session) = server.accept(ours).await?;
        stream.write_all(b"x").await.unwrap();
        let _ = stream.shutdown().await;
        Ok(session)
    };
    let call = async {
        let mut connected = client.connect(theirs, ask).await?;
        connected.stream.read_u8().await.map(|_| ()).map_err(|error| failure(&error))
    };
    tokio::join!(serve, call)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

const VERIFY: &str =
    "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: ";

#[test]
fn a_server_lets_in_whom_its_rules_let_in() {
    let (ca, other) = (Authority::new("ca"), Authority::new("otherca"));
    let ours = ca.version1("server");
    let expired = ca.leaf("old", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    });
    let rules = |validation: Value| json!({"tls_certificates": [certificate(&ours)], "validation_context": validation});
    let unknown = format!(
        "{VERIFY}X509_verify_cert: certificate verification error at depth 0: unable to get local issuer certificate:TLS_error_end"
    );
    let over = format!(
        "{VERIFY}X509_verify_cert: certificate verification error at depth 0: certificate has expired:TLS_error_end"
    );
    let missing = "TLS_error:|268435648:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:peer did not provide required client certificate:TLS_error_end".to_owned();
    let welcome = String::new();
    let named = json!([{"san_type": "DNS", "matcher": {"exact": "a.example"}}]);
    let rows: [(&str, Value, bool, Option<Leaf>, &String); 14] = [
        ("nobody is asked", rules(json!({})), false, None, &welcome),
        ("a certificate of version 1", rules(trusting(&ca.pem)), true, Some(ca.version1("client")), &welcome),
        ("a certificate of version 3", rules(trusting(&ca.pem)), true, Some(ca.leaf("client", |_| ())), &welcome),
        ("a stranger", rules(trusting(&ca.pem)), true, Some(other.version1("client")), &unknown),
        (
            "a stranger where none is needed",
            rules(trusting(&ca.pem)),
            false,
            Some(other.leaf("client", |_| ())),
            &unknown,
        ),
        ("an old certificate", rules(trusting(&ca.pem)), true, Some(expired), &over),
        ("none where one is needed", rules(trusting(&ca.pem)), true, None, &missing),
        ("none where none is needed", rules(trusting(&ca.pem)), false, None, &welcome),
        ("nobody is asked where no CA is named", rules(json!({})), true, Some(other.version1("client")), &welcome),
        (
            "none where the names of certificates are ruled",
            rules(json!({"trusted_ca": {"inline_string": ca.pem}, "match_typed_subject_alt_names": named})),
            false,
            None,
            &missing,
        ),
        (
            "none where certificates are ruled",
            rules(json!({"verify_certificate_hash": ["ab".repeat(32)]})),
            false,
            None,
            &missing,
        ),
        ("none where one is needed and no CA is named", rules(json!({})), true, None, &welcome),
        (
            "another name where strangers are accepted",
            rules(
                json!({"trusted_ca": {"inline_string": ca.pem}, "match_typed_subject_alt_names": named, "trust_chain_verification": "ACCEPT_UNTRUSTED"}),
            ),
            true,
            Some(other.version1("client")),
            &welcome,
        ),
        (
            "a stranger where strangers are accepted",
            rules(json!({"trusted_ca": {"inline_string": ca.pem}, "trust_chain_verification": "ACCEPT_UNTRUSTED"})),
            true,
            Some(other.version1("client")),
            &welcome,
        ),
    ];
    for (what, common, require, leaf, refusal) in rows {
        for version in ["TLSv1_2", "TLSv1_3"] {
            let own: Vec<Value> = leaf.iter().map(certificate).collect();
            let client = client(json!({"common_tls_context": {
                "tls_certificates": own, "tls_params": {"tls_minimum_protocol_version": version, "tls_maximum_protocol_version": version},
            }}));
            let (served, called) = run(shake(&server(common.clone(), require).unwrap(), &client, Ask::default()));
            let text = served.as_ref().map_or_else(|failure| failure.text.clone(), |_| String::new());
            assert_eq!(&text, refusal, "{what}, {version}");
            assert_eq!(called.is_ok(), refusal.is_empty(), "{what}, {version}: {called:?}");
            if let Ok(session) = served {
                assert_eq!(
                    session.info.peer.is_some(),
                    leaf.is_some() && !what.starts_with("nobody is asked"),
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn a_client_is_told_why() {
    let (ca, other) = (Authority::new("ca"), Authority::new("otherca"));
    let common =
        json!({"tls_certificates": [certificate(&ca.version1("server"))], "validation_context": trusting(&ca.pem)});
    let told = |leaf: Option<Leaf>| {
        let own: Vec<Value> = leaf.iter().map(certificate).collect();
        let client = client(json!({"common_tls_context": {"tls_certificates": own}}));
        run(shake(&server(common.clone(), true).unwrap(), &client, Ask::default())).1.unwrap_err().text
    };
    let alert = |text: &str| format!("TLS_error:|{text}:TLS_error_end");
    assert_eq!(
        told(Some(other.leaf("x", |_| ()))),
        alert("268436504:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA")
    );
    assert!(told(None).starts_with("TLS_error:|2684"), "{}", told(None));
}

#[test]
fn a_session_says_who_came_and_how() {
    let ca = Authority::new("ca");
    let common = json!({
        "tls_certificates": [certificate(&ca.version1("server"))], "validation_context": trusting(&ca.pem), "alpn_protocols": ["h2", "http/1.1"],
    });
    let leaf = ca.leaf("full, name", |params| {
        params.subject_alt_names = vec![
            SanType::URI("spiffe://cluster.local/ns/default/sa/a".try_into().unwrap()),
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
        ];
    });
    let client =
        client(json!({"sni": "shop.example", "common_tls_context": {"tls_certificates": [certificate(&leaf)]}}));
    let ask = Ask { alpn: &[b"http/1.1"], ..Ask::default() };
    let session = run(shake(&server(common, true).unwrap(), &client, ask)).0.unwrap();
    let peer = session.info.peer.clone().unwrap();
    assert_eq!(session.alpn.as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!((session.info.server_name.as_str(), session.info.version.as_str()), ("shop.example", "TLSv1.2"));
    assert_eq!(session.info.cipher, "ECDHE-ECDSA-AES128-GCM-SHA256");
    assert!(session.info.peer_validated);
    assert_eq!(peer.subject, "CN=full\\, name");
    assert_eq!(peer.uri_sans, ["spiffe://cluster.local/ns/default/sa/a"]);
    assert_eq!((peer.dns_sans, peer.ip_sans), (vec!["a.example".to_owned()], vec!["10.0.0.1".to_owned()]));
    assert_eq!((peer.sha256.len(), peer.sha1.len()), (64, 40));
    assert!(peer.url_encoded_pem.starts_with("-----BEGIN%20CERTIFICATE-----%0AMII"));
    assert!(peer.url_encoded_pem.ends_with("%0A-----END%20CERTIFICATE-----%0A"));
    assert!(!peer.url_encoded_pem.contains(['+', '/', '=', '\n']));
}

#[test]
fn a_cluster_believes_the_servers_its_rules_believe() {
    let (ca, other) = (Authority::new("ca"), Authority::new("otherca"));
    let dns = |names: &'static [&str]| {
        move |params: &mut CertificateParams| {
            params.subject_alt_names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
        }
    };
    let san = ca.leaf("s", dns(&["b.example", "*.wild.example"]));
    let for_clients = ca.leaf("s", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let chain = |reason: &str| {
        format!("{VERIFY}X509_verify_cert: certificate verification error at depth 0: {reason}:TLS_error_end")
    };
    let nameless = format!("{VERIFY}SAN matcher, certificate SANs are [b.example, *.wild.example]:TLS_error_end");
    let exact = |name: &str| json!({"trusted_ca": {"inline_string": ca.pem}, "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": name}}]});
    let welcome = String::new();
    let checked = |rules: Value| json!({"common_tls_context": {"validation_context": rules}});
    let rows: [(&str, &Leaf, Value, &String); 10] = [
        ("nothing is checked", &other.version1("s"), json!({}), &welcome),
        ("version 1 under its CA", &ca.version1("s"), checked(trusting(&ca.pem)), &welcome),
        (
            "another CA",
            &other.version1("s"),
            checked(trusting(&ca.pem)),
            &chain("unable to get local issuer certificate"),
        ),
        ("a name that is there", &san, checked(exact("b.example")), &welcome),
        ("a name under a wildcard", &san, checked(exact("x.wild.example")), &welcome),
        ("a name that is not there", &san, checked(exact("nope.example")), &nameless),
        (
            "a certificate for clients",
            &for_clients,
            checked(trusting(&ca.pem)),
            &chain("unsupported certificate purpose"),
        ),
        (
            "a digest of another",
            &san,
            checked(json!({"verify_certificate_hash": ["00".repeat(32)]})),
            &format!("{VERIFY}cert hash and spki:TLS_error_end"),
        ),
        (
            "its own name, checked",
            &san,
            json!({"sni": "b.example", "auto_sni_san_validation": true, "common_tls_context": {"validation_context": trusting(&ca.pem)}}),
            &welcome,
        ),
        (
            "another name, checked",
            &san,
            json!({"sni": "z.example", "auto_sni_san_validation": true, "common_tls_context": {"validation_context": trusting(&ca.pem)}}),
            &nameless,
        ),
    ];
    for (what, leaf, context, refusal) in rows {
        let server = server(json!({"tls_certificates": [certificate(leaf)]}), false).unwrap();
        let called = run(shake(&server, &client(context), Ask::default())).1;
        assert_eq!(&called.map_or_else(|failure| failure.text, |()| String::new()), refusal, "{what}");
    }
}

#[test]
fn a_chain_may_lead_over_certificates_that_were_sent() {
    let root = Authority::new("root");
    let key = KeyPair::generate().unwrap();
    let make = |ca: bool| {
        let mut params = named("between");
        params.is_ca = if ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params
    };
    let reads = |ca: bool, sent: bool, trusted: &str| {
        let pem = make(ca).signed_by(&key, &root.issuer).unwrap().pem();
        let between = Authority {
            issuer: Issuer::new(make(ca), KeyPair::from_pem(&key.serialize_pem()).unwrap()),
            pem: pem.clone(),
        };
        let mut leaf = between.leaf("leaf", |_| ());
        if sent {
            leaf.certificate += &pem;
        }
        let trusted = if trusted == "between" { &pem } else { &root.pem };
        let server = server(json!({"tls_certificates": [certificate(&leaf)]}), false).unwrap();
        let client = client(json!({"common_tls_context": {"validation_context": trusting(trusted)}}));
        let text = run(shake(&server, &client, Ask::default()))
            .1
            .map_or_else(|failure| failure.text, |()| "welcome".to_owned());
        text.trim_start_matches(VERIFY)
            .trim_start_matches("X509_verify_cert: certificate verification error ")
            .trim_end_matches(":TLS_error_end")
            .to_owned()
    };
    assert_eq!(reads(true, true, "root"), "welcome");
    assert_eq!(reads(true, false, "root"), "at depth 0: unable to get local issuer certificate");
    assert_eq!(reads(true, false, "between"), "welcome");
    assert_eq!(reads(false, true, "root"), "at depth 1: invalid CA certificate");
}

#[test]
fn a_plain_server_is_no_tls_server() {
    let called = run(async {
        let (mut plain, theirs) = duplex(1024);
        let client = client(json!({}));
        let serve = async {
            let _ = plain.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            plain
        };
        tokio::join!(serve, client.connect(theirs, Ask::default())).1.map(|_| ())
    });
    assert_eq!(
        called.unwrap_err().text,
        "TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end"
    );
}

#[test]
fn connections_fail_while_a_secret_is_missing_and_the_cluster_is_there() {
    let sds = |name: &str| json!({"name": name});
    for common in [
        json!({"tls_certificate_sds_secret_configs": [sds("kubernetes://nobody")]}),
        json!({"combined_validation_context": {"default_validation_context": {}, "validation_context_sds_secret_config": sds("kubernetes://nobody-cacert")}}),
    ] {
        let client = client(json!({"common_tls_context": common}));
        let (_server, ours) = duplex(1024);
        let failure = run(client.connect(ours, Ask::default())).map(|_| ()).unwrap_err();
        assert_eq!(failure.text, "TLS error: Secret is not supplied by SDS");
    }
}

#[test]
fn a_client_gets_the_certificate_for_the_name_it_asks_for() {
    let ca = Authority::new("ca");
    let leaf = |name: &'static str| {
        ca.leaf(name, move |params| params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())])
    };
    let server =
        server(json!({"tls_certificates": [certificate(&leaf("a.example")), certificate(&leaf("b.example"))]}), false)
            .unwrap();
    for (asked, got) in [("b.example", "b.example"), ("a.example", "a.example"), ("c.example", "a.example")] {
        let rule = json!({"trusted_ca": {"inline_string": ca.pem}, "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": got}}]});
        let client = client(json!({"sni": asked, "common_tls_context": {"validation_context": rule}}));
        assert_eq!(run(shake(&server, &client, Ask::default())).1, Ok(()), "{asked}");
    }
}

#[test]
fn a_faulty_configuration_is_named() {
    let ca = Authority::new("ca");
    let (one, other) = (ca.version1("one"), ca.version1("other"));
    let refused = |common: Value| server(common, false).err().map(|error| error.to_string()).unwrap_or_default();
    let with = |certificate: &str, key: &str| {
        refused(
            json!({"tls_certificates": [{"certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}}]}),
        )
    };
    let garbage = pem(b"garbage");
    let nameless = json!({"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "a.example"}}]});
    let rows: [(String, &str); 9] = [
        (
            refused(json!({"tls_certificates": [certificate(&one)], "validation_context": nameless})),
            "SAN-based verification of peer certificates without trusted CA is insecure",
        ),
        (
            with(&one.certificate, &other.key),
            r#"tls_certificates: the private key does not fit the certificate of "CN=one""#,
        ),
        (with("", &one.key), "tls_certificates: certificate_chain: no PEM certificate (-----BEGIN CERTIFICATE-----)"),
        (with(&garbage, &one.key), "tls_certificates: certificate_chain: certificate 1: not an X.509 certificate"),
        (with(&one.certificate, "nonsense"), "tls_certificates: private_key: no PEM private key"),
        (refused(json!({})), "no TLS certificates found for server context"),
        (
            refused(json!({"tls_certificate_sds_secret_configs": [{"name": "kubernetes://shop"}]})),
            r#"secret "kubernetes://shop" is missing"#,
        ),
        (
            refused(json!({"tls_certificates": [{"certificate_chain": {"filename": "/nowhere/tls.crt"}}]})),
            "certificate_chain: /nowhere/tls.crt: No such file",
        ),
        (
            refused(json!({"tls_certificates": [certificate(&one)], "tls_params": {"cipher_suites": ["ROT13"]}})),
            r#"tls_params.cipher_suites: "ROT13""#,
        ),
    ];
    for (got, expected) in rows {
        assert!(got.contains(expected), "{expected:?} is not in {got:?}");
    }
}

#[test]
fn certificates_come_by_the_name_of_their_secret() {
    let ca = Authority::new("ca");
    let leaf = ca.version1("shop");
    let secrets: Vec<xds::Secret> = serde_json::from_value(json!([
        {"name": "kubernetes://shop", "tls_certificate": certificate(&leaf)},
        {"name": "kubernetes://shop-cacert", "validation_context": trusting(&ca.pem)},
    ]))
    .unwrap();
    let context = json!({"require_client_certificate": true, "common_tls_context": {
        "tls_certificate_sds_secret_configs": [{"name": "kubernetes://shop"}],
        "combined_validation_context": {"default_validation_context": {}, "validation_context_sds_secret_config": {"name": "kubernetes://shop-cacert"}},
    }});
    let server = Downstream::build(&serde_json::from_value(context).unwrap(), &Secrets::new(&secrets)).unwrap();
    let client = client(json!({"common_tls_context": {"tls_certificates": [certificate(&ca.version1("client"))]}}));
    assert!(run(shake(&server, &client, Ask::default())).0.unwrap().info.peer_validated);
}

#[test]
fn a_certificate_whose_time_is_over_is_named() {
    let ca = Authority::new("ca");
    let dated = |from: i32, to: i32| {
        let leaf = ca.leaf("old", |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        });
        server(json!({"tls_certificates": [certificate(&leaf)]}), false).unwrap()
    };
    // 2024-01-02
    let now = 1_704_153_600;
    let problem = |server: &Downstream| server.untimely(now).first().map(|untimely| untimely.problem.to_string());
    assert_eq!(problem(&dated(2023, 2024)).as_deref(), Some("expired 1 day(s) ago"));
    assert_eq!(problem(&dated(2025, 2026)).as_deref(), Some("valid only in 366 day(s)"));
    assert_eq!(problem(&dated(2023, 2025)), None);
    assert_eq!(dated(2023, 2025).days_left(now), 365);
    assert_eq!(dated(2023, 2024).days_left(now), 0);
}

#[test]
fn a_look_at_the_client_hello_loses_nothing() {
    let ca = Authority::new("ca");
    let server =
        server(json!({"tls_certificates": [certificate(&ca.version1("s"))], "alpn_protocols": ["h2"]}), false).unwrap();
    let client = client(json!({"sni": "Shop.Example"}));
    let (hello, session) = run(async {
        // Narrow: the hello arrives in many pieces.
        let (mut ours, theirs) = duplex(16);
        let serve = async {
            let mut taken = BytesMut::new();
            let hello = peek_client_hello(&mut taken, &mut ours).await.unwrap();
            let (stream, session) = server.accept(Prefixed::new(taken.freeze(), ours)).await.unwrap();
            (hello, session, stream)
        };
        let call =
            async { client.connect(theirs, Ask { alpn: &[b"h2", b"http/1.1"], ..Ask::default() }).await.unwrap() };
        let ((hello, session, _stream), _connected) = tokio::join!(serve, call);
        (hello.unwrap(), session)
    });
    assert_eq!(
        hello,
        ClientHello { server_name: Some("shop.example".to_owned()), alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()] }
    );
    assert_eq!(session.alpn.as_deref(), Some(&b"h2"[..]));
}

#[test]
fn what_is_no_client_hello_is_handed_on_as_it_came() {
    let rows: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05junk!", b"\x16", b"PRI * HTTP/2.0"];
    for sent in rows {
        let (hello, read) = run(async {
            let (mut ours, mut theirs) = duplex(1024);
            theirs.write_all(sent).await.unwrap();
            theirs.shutdown().await.unwrap();
            let mut taken = BytesMut::new();
            let hello = peek_client_hello(&mut taken, &mut ours).await.unwrap();
            let mut read = taken.to_vec();
            ours.read_to_end(&mut read).await.unwrap();
            (hello, read)
        });
        assert_eq!((hello, read.as_slice()), (None, sent));
    }
}

/// Made by `openssl x509 -req` without extensions: RSA, version 1, valid for a hundred years. Their keys are gone.
const RSA_CA: &str = "-----BEGIN CERTIFICATE-----\n\
MIIC/TCCAeWgAwIBAgIUUqoSHwUyI4YDN3qSQGUoe6EVQPUwDQYJKoZIhvcNAQEL\n\
BQAwDTELMAkGA1UEAwwCY2EwIBcNMjYxMTIxMDgyMzUwWhgPMjEyNjEwMjgwODIz\n\
NTBaMA0xCzAJBgNVBAMMAmNhMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKC\n\
AQEAuRlzlYeek7zQCQtAvH2DuAqbWL/Ff8sarpbSjP2rO0a8cTXtdRKR7R37LEEY\n\
gshTl230ClfFGxX84KbwQDVppy2JUo+4g2V8kz0eTDgBb/vADLmLNTpIqW2k7cDA\n\
to2qKYy6QdwRyizMks3GQx+4wsQVYNTo2N/qK03A8LdnAR3K5ruDxeZLRTu+YFnh\n\
K0Hk7deXdzZf6PFPmJZwDxBNLviqtceX3M+vbj7QJ6Uaekyzmkff9mo5EjRF4DMI\n\
aQJzWo7MB5ckIOk2voHYgCBUXuXh22dhmKrHXI/A0ns0GWwuPYqq4hKgwVrhTm3c\n\
wpOAgNgnug8VRtZF7X+jhJlouwIDAQABo1MwUTAdBgNVHQ4EFgQU85W/ZL2UlP2v\n\
dKM0kJaQQKRcQjowHwYDVR0jBBgwFoAU85W/ZL2UlP2vdKM0kJaQQKRcQjowDwYD\n\
VR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOCAQEAbMgFYSgl+6i63E2IzQYX\n\
ifTK526pxOayLZtjSHYHSFogGEDgU8Imk8p8u5z+o9hrAw6/bU55nZ+V48ZdVDvo\n\
JR3gxDP1ehpuF6K+vLxIMMwQgekPZSLQtvAJzjSFGQoCN0W2qdsvWM2PpFhyrsw/\n\
+WLlm9pg7ewAXk2ENzcUp9ZywLt2Ve4xAMpl56g1EzoSB7zI2s9AH5BVKRfAqKXx\n\
752+jtpiBJkXjrD3/UnXLnRmQTtquiEO+h7ZUWFlR0yPmbYUJPclQPb1qCvvhC63\n\
z2AZl8u216jhxo2Kjr3h0S0dq5gJHISGbpIBcaNWBAEz2qU+dC56OviswhuwngK7\n\
cA==\n\
-----END CERTIFICATE-----";
const RSA_LEAF: &str = "-----BEGIN CERTIFICATE-----\n\
MIICpzCCAY8CFHVa4XqAIMWd46ByBGoP/hvDSQSlMA0GCSqGSIb3DQEBCwUAMA0x\n\
CzAJBgNVBAMMAmNhMCAXDTI2MTEyMTA4MjM1MFoYDzIxMjYxMDI4MDgyMzUwWjAR\n\
MQ8wDQYDVQQDDAZjbGllbnQwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIB\n\
AQD3fFoHb6+D9e9ipkKJbvBhbNtOkmqWv0B96ni7ip9tcuzGr1AViPVOK2IWjnj2\n\
/W0rykQ0ZjsrsHT7izW1RHCXmsZGMq9EeHB0IkC2po/Pcengx93E8xF51UXs5Oj/\n\
9jUDUJmHlQrTvG2Ibejv3AU4vkS34t4UGmEVHYtj26ctj+tDBsMZZC+r/T/Et7a9\n\
7XOyaZ3nuYtOjPGu91iI58AdjKA0sTvexA7e0+GpH8GAGy0xMHMKoaXUc2ejJH4l\n\
s7lNXRQeDZ51xreex2tVoO0Hh/M2hZyBR+SwjgG28M6X2Dc88ncV55lmPoQ8zb21\n\
HstjoTcGbv/sDUqVap6XFnUJAgMBAAEwDQYJKoZIhvcNAQELBQADggEBAASws+J3\n\
8lxg9sDcxF7NpRiCuT03H7Yvo+GNkf/tXQ/my9OGxhIqiDt0boLvq122U2AigJjn\n\
l1a3h6mYLKTWy9naCI4h2ja87+LXKYU8GCFcpeaMj0ysLckLOfoIE41E311aPUGJ\n\
AmLUaA+HD+mDCEBq5fQF0a1HWmRo/xsf8RGYJA9SHSQyaLv0lsHhYOU/AFeZX8oW\n\
pSuWOYBjrHv0XErtaC5gP6/2k09T0PmsCJAjs+2BNkIZKvsx2decy4CmVV4uxfe6\n\
ueLWqnATbb3JiKOs/rcoAnIxxNrWaEK3xW6Lrwha/yL9xuc9iwKQvK4PG7nxbB6k\n\
EjFk9izyrMjKpag=\n\
-----END CERTIFICATE-----";

#[test]
fn a_certificate_of_version_1_made_by_openssl_is_judged() {
    let parse = |pem: &str| {
        let source = xds::DataSource { inline_string: Some(pem.to_owned()), ..xds::DataSource::default() };
        Secrets::certificates(&source, "pem").unwrap().remove(0)
    };
    let (ca, leaf) = (parse(RSA_CA), parse(RSA_LEAF));
    let other: Vec<certificate::Certificate> = vec![];
    let algorithms = provider().signature_verification_algorithms;
    let judged = |leaf: &certificate::Certificate, seconds: u64| {
        let trust = chain::Trust { anchors: vec![ca.clone()], algorithms, any_date: false, depth: 100 };
        let now = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        trust.verify(leaf, &other, chain::Role::Client, now).map_err(|broken| broken.reason)
    };
    assert!(!leaf.extensions.version3);
    assert_eq!(judged(&leaf, 1_900_000_000), Ok(()));
    assert_eq!(judged(&leaf, 1_000_000_000), Err(chain::Reason::NotYetValid));
    assert_eq!(judged(&leaf, 9_000_000_000), Err(chain::Reason::Expired));
    let mut forged = leaf.clone();
    forged.signature[100] ^= 1;
    assert_eq!(judged(&forged, 1_900_000_000), Err(chain::Reason::BadSignature));
}
