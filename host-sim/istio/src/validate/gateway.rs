//! What the admission webhook and the API server refuse in a `Gateway`: servers, ports, hosts and TLS settings that contradict each other.

use super::{Check, name};
use crate::{
    problem::Problem,
    resource::{
        gateway::{Gateway, Server, ServerTls, TlsMode},
        object::Object,
        protocol::Protocol,
    },
};

const UNIX: &str = "unix://";

/// What the webhook refuses of a Gateway.
pub(crate) fn check(object: &Object<Gateway>, problems: &mut Vec<Problem>) {
    let mut check = Check { object, problems };
    if name::dns_label(&object.metadata.name).is_err() {
        check.refuse("metadata.name", format!("invalid gateway name: {:?}", object.metadata.name));
    }
    if object.spec.servers.is_empty() {
        check.refuse("spec.servers", "gateway must have at least one server");
    }
    let mut port_names = Vec::new();
    for (i, server) in object.spec.servers.iter().enumerate() {
        let path = format!("spec.servers[{i}]");
        check.server(&path, server);
        if port_names.contains(&&server.port.name) {
            let reason = format!("port names in servers must be unique: duplicate name {}", server.port.name);
            check.refuse(&format!("{path}.port.name"), reason);
        }
        port_names.push(&server.port.name);
    }
}

impl Check<'_, Gateway> {
    fn server(&mut self, path: &str, server: &Server) {
        self.refuse_if(
            server.hosts.is_empty(),
            &format!("{path}.hosts"),
            "server config must contain at least one host",
        );
        for (i, host) in server.hosts.iter().enumerate() {
            self.expect(&format!("{path}.hosts[{i}]"), server_host(host));
        }
        self.server_port(&format!("{path}.port"), server);
        let bind = &server.bind;
        let bind_ok = bind.is_empty() || bind.starts_with(UNIX) || bind.parse::<std::net::IpAddr>().is_ok();
        self.refuse_if(!bind_ok, &format!("{path}.bind"), &format!("{bind} is not a valid IP"));
        if let Some(tls) = &server.tls {
            self.tls(&format!("{path}.tls"), tls);
        }
        self.tls_fits_protocol(path, server);
    }

    fn server_port(&mut self, path: &str, server: &Server) {
        let port = &server.port;
        if server.protocol() == Protocol::Unsupported {
            let reason = format!(
                "invalid protocol {:?}, supported protocols are HTTP, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, MYSQL, TCP",
                port.protocol
            );
            self.refuse(&format!("{path}.protocol"), reason);
        }
        if port.number > 0 || !server.bind.starts_with(UNIX) {
            self.port(&format!("{path}.number"), port.number);
        }
        self.refuse_if(port.target_port > 0, &format!("{path}.targetPort"), "targetPort has no impact on Gateways");
        self.refuse_if(port.name.is_empty(), &format!("{path}.name"), "port name must be set");
    }

    fn tls_fits_protocol(&mut self, path: &str, server: &Server) {
        let protocol = server.protocol();
        let path = format!("{path}.tls");
        match &server.tls {
            None if matches!(protocol, Protocol::Https | Protocol::Tls) => {
                self.refuse(&path, "server must have TLS settings for HTTPS/TLS protocols");
            }
            Some(tls) if protocol.is_http() => {
                let more_than_redirect = !server.is_passthrough()
                    || [&tls.ca_certificates, &tls.private_key, &tls.server_certificate]
                        .iter()
                        .any(|file| !file.is_empty());
                self.refuse_if(more_than_redirect, &path, "server cannot have TLS settings for plain text HTTP ports");
            }
            Some(_) if !matches!(protocol, Protocol::Https | Protocol::Tls | Protocol::Unsupported) => {
                self.refuse(&path, "server cannot have TLS settings for non HTTPS/TLS ports");
            }
            _ => {}
        }
    }

    fn tls(&mut self, path: &str, tls: &ServerTls) {
        let sources = [
            !tls.server_certificate.is_empty() && !tls.private_key.is_empty(),
            !tls.credential_name.is_empty(),
            !tls.credential_names.is_empty(),
            !tls.tls_certificates.is_empty(),
        ];
        if tls.mode == TlsMode::IstioMutual {
            let given = sources.iter().any(|set| *set)
                || [&tls.server_certificate, &tls.private_key, &tls.ca_certificates]
                    .iter()
                    .any(|file| !file.is_empty());
            return self.refuse_if(given, path, "ISTIO_MUTUAL TLS cannot have certificates or credentials of its own");
        }
        let reason = "only one of credential_name, credential_names, server_certificate/private_key, tls_certificates should be specified";
        self.refuse_if(sources.iter().filter(|set| **set).count() > 1, path, reason);
        self.refuse_if(tls.credential_names.len() > 2, &format!("{path}.credentialNames"), "must have at most 2 items");
        self.refuse_if(tls.tls_certificates.len() > 2, &format!("{path}.tlsCertificates"), "must have at most 2 items");
        let passed_on = matches!(tls.mode, TlsMode::Passthrough | TlsMode::AutoPassthrough);
        let by_credential = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
        // A credential brings its own list of revoked certificates; what else is said of one goes unread, here as there.
        if by_credential && !passed_on {
            return;
        }
        if !passed_on {
            self.certificates_by_file(path, tls);
        }
        if !tls.ca_crl.is_empty() {
            let path = format!("{path}.caCrl");
            self.refuse_if(
                !tls.credential_name.is_empty(),
                &path,
                "CRL is not supported with credentialName. CRL has to be specified in the credential",
            );
            self.refuse_if(tls.mode == TlsMode::Simple, &path, "CRL is not supported with SIMPLE TLS");
        }
    }

    fn certificates_by_file(&mut self, path: &str, tls: &ServerTls) {
        let mutual = tls.mode != TlsMode::Simple;
        let mode = if mutual { "MUTUAL TLS" } else { "SIMPLE TLS" };
        self.refuse_if(mutual && tls.ca_certificates.is_empty(), path, &format!("{mode} requires a client CA bundle"));
        let own = [(&tls.server_certificate, &tls.private_key)];
        let listed: Vec<_> =
            tls.tls_certificates.iter().map(|pair| (&pair.server_certificate, &pair.private_key)).collect();
        let pairs = if listed.is_empty() { &own[..] } else { &listed };
        for (certificate, key) in pairs {
            self.refuse_if(certificate.is_empty(), path, &format!("{mode} requires a server certificate"));
            self.refuse_if(key.is_empty(), path, &format!("{mode} requires a private key"));
        }
    }
}

/// `[namespace/]dns-name`, the name full or with a leading wildcard label, or an address.
fn server_host(host: &str) -> Result<(), String> {
    let name = match host.split_once('/') {
        Some(("", _) | (_, "")) => return Err("config namespace and dnsName in host entry cannot be empty".to_owned()),
        Some((namespace, name)) => {
            if namespace != "*" && namespace != "." {
                name::dns_label(namespace).map_err(|_| format!("invalid namespace value {namespace:?} in gateway"))?;
            }
            name
        }
        None => host,
    };
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    if name != "*" && !name.contains('.') {
        return Err("short names (non FQDN) are not allowed".to_owned());
    }
    name::wildcard_domain(name)?;
    partial_wildcard(name)
}

/// `*-a.example` would be a partial wildcard.
pub(crate) fn partial_wildcard(host: &str) -> Result<(), String> {
    if host.contains('*') && host != "*" && !host.starts_with("*.") {
        return Err(format!("partial wildcard {host:?} not allowed"));
    }
    Ok(())
}
