//! nginx as a yardstick: one worker, all of it in a place of its own.

use std::{
    ffi::OsString,
    io,
    process::{Command, Stdio},
};

use crate::{client, place::Place};

/// Tells whether there is one to be measured.
pub(crate) fn is_there() -> bool {
    let asked =
        Command::new("nginx").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Sets one up to send the answer by itself, as near to its bytes as nginx can be brought.
pub(crate) fn answering(place: &Place, answer: &[u8]) -> io::Result<Vec<OsString>> {
    let no_answer = || io::Error::other("no answer to copy");
    let (head, body) = client::body_of(answer).ok_or_else(no_answer)?;
    let (head, body) = (String::from_utf8_lossy(head), String::from_utf8_lossy(body));
    let mut location = String::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        match name {
            // These it adds to each answer itself.
            "content-length" | "date" => {}
            "content-type" => location.push_str(&format!("default_type '{value}';\n")),
            name => location.push_str(&format!("add_header {name} '{value}';\n")),
        }
    }
    location.push_str(&format!("return 200 '{body}';\n"));
    write(place, "", &location)
}

/// Sets one up to forward to an upstream, over connections that it keeps, with a fixed header.
pub(crate) fn forwarding(place: &Place, upstream: &str, token: &str) -> io::Result<Vec<OsString>> {
    let upstreams = format!(
        "upstream okta {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}"
    );
    let location = format!(
        "proxy_pass http://okta; proxy_http_version 1.1; proxy_set_header Connection \"\";
            proxy_set_header Authorization \"Bearer {token}\";"
    );
    write(place, &upstreams, &location)
}

fn write(place: &Place, upstreams: &str, location: &str) -> io::Result<Vec<OsString>> {
    let (port, socket) = (place.port(), place.socket());
    let (directory, socket) = (place.directory().display(), socket.display());
    let configuration = format!(
        r#"daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr;
worker_rlimit_nofile 20000;
events {{ worker_connections 12000; }}
http {{
    access_log off;
    server_tokens off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {upstreams}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        listen unix:{socket} backlog=1024;
        location / {{
            {location}
        }}
    }}
}}
"#
    );
    let configuration = place.write("nginx.conf", configuration.as_bytes())?;
    Ok(vec!["nginx".into(), "-c".into(), configuration.into()])
}
