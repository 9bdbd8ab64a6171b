//! Objects that several cases apply.

/// A certificate for `name`, self-signed, as PEM: certificate and key.
pub fn certificate(name: &str) -> anyhow::Result<(String, String)> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

/// A TLS Secret.
pub fn tls_secret(namespace: &str, name: &str, (certificate, key): &(String, String)) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {"tls.crt": certificate, "tls.key": key}
    })
    .to_string()
}

/// A Deployment of the built-in echo application.
pub fn echo(namespace: &str, name: &str, app: &str, version: &str, replicas: u32) -> String {
    serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app, "version": version}},
            "template": {
                "metadata": {"labels": {"app": app, "version": version}},
                "spec": {"containers": [{"name": "app", "image": "mizzen/echo",
                    "ports": [{"containerPort": 8080}],
                    "env": [{"name": "VERSION", "value": version}]}]}
            }
        }
    })
    .to_string()
}

/// Serves HTTPS with Python's standard library, and says who it is.
const HTTPS_SERVER: &str = r#"
import http.server, ssl, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'from ' + sys.argv[1].encode() + b'\n')
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('/etc/tls/tls.crt', '/etc/tls/tls.key')
server = http.server.ThreadingHTTPServer(('0.0.0.0', int(sys.argv[2])), Answer)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// A pod that ends TLS itself, with the certificate of a Secret.
pub fn https_server(namespace: &str, name: &str, secret: &str, port: u16) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "containers": [{"name": "app", "image": "host/python3",
                "command": ["python3", "-c", HTTPS_SERVER, name, port.to_string()],
                "volumeMounts": [{"name": "tls", "mountPath": "/etc/tls"}],
                "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1}}],
            "volumes": [{"name": "tls", "secret": {"secretName": secret}}]
        }
    })
    .to_string()
}
