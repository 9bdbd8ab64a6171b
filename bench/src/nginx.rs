//! nginx's configuration for the same work. It has no HTTP/2 upstream, so it is not on the mesh path.

use crate::certificates::Certificates;
use std::net::SocketAddr;
use std::path::Path;

/// HTTP in, HTTP/1.1 out; answers and requests pass through unbuffered by the disk.
pub fn hop(
    folder: &Path,
    entry: SocketAddr,
    application: SocketAddr,
    http2_in: bool,
    tls: Option<&Certificates>,
) -> String {
    let http2 = if http2_in { "http2" } else { "" };
    let (ssl, settings) = match tls {
        None => ("", String::new()),
        Some(certificates) => (
            "ssl",
            format!(
                "ssl_certificate {};
        ssl_certificate_key {};
        ssl_protocols TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;",
                certificates.host.certificate.display(),
                certificates.host.key.display()
            ),
        ),
    };
    let folder = folder.display();
    format!(
        "{}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    upstream app {{
        server {application};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {entry} {ssl} {http2};
        {settings}
        client_max_body_size 0;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header X-Request-ID $request_id;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
",
        common(&folder.to_string())
    )
}

/// Bytes in, bytes out. Debian has this in a package of its own, `libnginx-mod-stream`.
pub fn tcp(folder: &Path, entry: SocketAddr, application: SocketAddr) -> String {
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;
{}
stream {{
    server {{
        listen {entry};
        proxy_pass {application};
        proxy_buffer_size 64k;
    }}
}}
",
        common(&folder.display().to_string())
    )
}

/// One process, in the foreground.
fn common(folder: &str) -> String {
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 20000; }}"
    )
}
