//! Access log formats: Envoy's command operators, parsed once, rendered into the log's buffer.
//!
//! Source: Envoy documentation, "Access logging", "Command operators". A value that is missing is
//! `-` in text and `null` in JSON.

use super::entry::{Entry, Value};
use crate::compile::CompileError;
use envoy_types::pb::envoy::config::core::v3::{
    SubstitutionFormatString, data_source::Specifier, substitution_format_string,
};
use envoy_types::pb::google::protobuf::{Struct, value::Kind};
use http::HeaderName;
use std::fmt::Write;

/// Istio's default text format, also what Envoy's default would be under Istio.
pub const DEFAULT_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/// A parsed format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    shape: Shape,
    omit_empty: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Text(Vec<Piece>),
    Json(Vec<(String, Json)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Json {
    /// One operator alone keeps its type: numbers are numbers.
    Typed(Operator),
    Text(Vec<Piece>),
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Constant(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Operator(Operator),
}

/// `%COMMAND(arguments):LENGTH%`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// What is printed.
    pub field: Field,
    /// Longest text, in bytes.
    pub length: Option<usize>,
}

/// What an operator prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A request header or pseudo header, with an alternative when the first is missing.
    RequestHeader(HeaderKey, Option<HeaderKey>),
    /// A response header.
    ResponseHeader(HeaderKey, Option<HeaderKey>),
    /// A response trailer.
    ResponseTrailer(HeaderKey, Option<HeaderKey>),
    /// The request's path without its query.
    PathWithoutQuery,
    /// The start in a `strftime` format; the default is ISO 8601 with milliseconds.
    StartTime(Option<String>),
    /// An environment variable, read when the format is parsed.
    Constant(String),
    /// Everything that has no argument.
    Plain(Plain),
}

/// A header an operator names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderKey {
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:authority` (or `host`)
    Authority,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
    /// A real header.
    Name(HeaderName),
}

macro_rules! plain {
    ($($(#[$doc:meta])* $variant:ident = $command:literal,)*) => {
        /// Operators without arguments.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Plain {
            $($(#[$doc])* $variant,)*
        }

        impl Plain {
            fn parse(command: &str) -> Option<Self> {
                match command {
                    $($command => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

plain! {
    /// `HTTP/1.1`, `HTTP/2`.
    Protocol = "PROTOCOL",
    /// The response code, 0 without a response.
    ResponseCode = "RESPONSE_CODE",
    /// Short response flags.
    ResponseFlags = "RESPONSE_FLAGS",
    /// Long response flags.
    ResponseFlagsLong = "RESPONSE_FLAGS_LONG",
    /// Why the response is what it is.
    ResponseCodeDetails = "RESPONSE_CODE_DETAILS",
    /// Why the connection ended.
    ConnectionTerminationDetails = "CONNECTION_TERMINATION_DETAILS",
    /// Why the upstream connection failed.
    UpstreamTransportFailureReason = "UPSTREAM_TRANSPORT_FAILURE_REASON",
    /// Body bytes received.
    BytesReceived = "BYTES_RECEIVED",
    /// Body bytes sent.
    BytesSent = "BYTES_SENT",
    /// Milliseconds from the first byte in to the last byte out.
    Duration = "DURATION",
    /// Milliseconds until the request was read whole.
    RequestDuration = "REQUEST_DURATION",
    /// Milliseconds until the response began.
    ResponseDuration = "RESPONSE_DURATION",
    /// Milliseconds from the response's beginning to its end.
    ResponseTxDuration = "RESPONSE_TX_DURATION",
    /// Address of the upstream host.
    UpstreamHost = "UPSTREAM_HOST",
    /// Address of the upstream host, in newer words.
    UpstreamRemoteAddress = "UPSTREAM_REMOTE_ADDRESS",
    /// The same without port.
    UpstreamRemoteAddressWithoutPort = "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    /// Port of the upstream host.
    UpstreamRemotePort = "UPSTREAM_REMOTE_PORT",
    /// Our end of the upstream connection.
    UpstreamLocalAddress = "UPSTREAM_LOCAL_ADDRESS",
    /// The same without port.
    UpstreamLocalAddressWithoutPort = "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    /// Its port.
    UpstreamLocalPort = "UPSTREAM_LOCAL_PORT",
    /// The cluster's name.
    UpstreamCluster = "UPSTREAM_CLUSTER",
    /// The cluster's name, never its alternative.
    UpstreamClusterRaw = "UPSTREAM_CLUSTER_RAW",
    /// How many attempts there were.
    UpstreamRequestAttemptCount = "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    /// First URI SAN of the upstream's certificate.
    UpstreamPeerUriSan = "UPSTREAM_PEER_URI_SAN",
    /// The address the client connected to.
    DownstreamLocalAddress = "DOWNSTREAM_LOCAL_ADDRESS",
    /// The same without port.
    DownstreamLocalAddressWithoutPort = "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    /// Its port.
    DownstreamLocalPort = "DOWNSTREAM_LOCAL_PORT",
    /// The client's address.
    DownstreamRemoteAddress = "DOWNSTREAM_REMOTE_ADDRESS",
    /// The same without port.
    DownstreamRemoteAddressWithoutPort = "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    /// Its port.
    DownstreamRemotePort = "DOWNSTREAM_REMOTE_PORT",
    /// The other end of the socket.
    DownstreamDirectRemoteAddress = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    /// The same without port.
    DownstreamDirectRemoteAddressWithoutPort = "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    /// Its port.
    DownstreamDirectRemotePort = "DOWNSTREAM_DIRECT_REMOTE_PORT",
    /// The server name of the ClientHello.
    RequestedServerName = "REQUESTED_SERVER_NAME",
    /// First URI SANs of the client's certificate, comma separated.
    DownstreamPeerUriSan = "DOWNSTREAM_PEER_URI_SAN",
    /// URI SANs of our certificate.
    DownstreamLocalUriSan = "DOWNSTREAM_LOCAL_URI_SAN",
    /// Subject of the client's certificate.
    DownstreamPeerSubject = "DOWNSTREAM_PEER_SUBJECT",
    /// Issuer of the client's certificate.
    DownstreamPeerIssuer = "DOWNSTREAM_PEER_ISSUER",
    /// Serial number of the client's certificate.
    DownstreamPeerSerial = "DOWNSTREAM_PEER_SERIAL",
    /// TLS version.
    DownstreamTlsVersion = "DOWNSTREAM_TLS_VERSION",
    /// TLS cipher suite.
    DownstreamTlsCipher = "DOWNSTREAM_TLS_CIPHER",
    /// Name of the route.
    RouteName = "ROUTE_NAME",
    /// Name of the virtual host.
    VirtualHostName = "VIRTUAL_HOST_NAME",
    /// Name of the filter chain.
    FilterChainName = "FILTER_CHAIN_NAME",
    /// Number of the connection.
    ConnectionId = "CONNECTION_ID",
    /// This machine's name.
    Hostname = "HOSTNAME",
    /// `grpc-status` by name.
    GrpcStatus = "GRPC_STATUS",
    /// `grpc-status` by number.
    GrpcStatusNumber = "GRPC_STATUS_NUMBER",
    /// The trace the request belongs to.
    TraceId = "TRACE_ID",
    /// Our span in it.
    SpanId = "SPAN_ID",
}

impl Format {
    /// Parses a text format.
    pub fn text(text: &str) -> Result<Self, String> {
        Ok(Self { shape: Shape::Text(pieces(text)?), omit_empty: false })
    }

    /// Parses a JSON format. Keys are written in alphabetical order, as Envoy writes them.
    pub fn json(format: &Struct) -> Result<Self, String> {
        Ok(Self { shape: Shape::Json(object(format)?), omit_empty: false })
    }

    /// Parses whatever a `SubstitutionFormatString` holds.
    pub fn compile(format: &SubstitutionFormatString) -> Result<Self, CompileError> {
        if !format.formatters.is_empty() {
            return Err(CompileError::unsupported("formatters", "a formatter extension"));
        }
        let parsed = match &format.format {
            Some(substitution_format_string::Format::TextFormat(text)) => Self::text(text),
            Some(substitution_format_string::Format::JsonFormat(json)) => Self::json(json),
            Some(substitution_format_string::Format::TextFormatSource(source)) => match &source.specifier {
                Some(Specifier::InlineString(text)) => Self::text(text),
                _ => {
                    return Err(CompileError::unsupported(
                        "text_format_source",
                        "a source other than inline_string",
                    ));
                }
            },
            None => return Err(CompileError::missing("format")),
        };
        let parsed = parsed.map_err(|reason| CompileError::invalid("format", reason))?;
        Ok(Self { omit_empty: format.omit_empty_values, ..parsed })
    }

    /// The request headers it needs.
    pub fn request_headers(&self) -> Vec<HeaderName> {
        let mut names = Vec::new();
        self.each(&mut |field| {
            if let Field::RequestHeader(first, second) = field {
                names.extend(name_of(Some(first)).into_iter().chain(name_of(second.as_ref())));
            }
        });
        names
    }

    /// The response headers it needs.
    pub fn response_headers(&self) -> Vec<HeaderName> {
        let mut names = Vec::new();
        self.each(&mut |field| {
            if let Field::ResponseHeader(first, second) = field {
                names.extend(name_of(Some(first)).into_iter().chain(name_of(second.as_ref())));
            }
        });
        names
    }

    /// Whether it needs the response's trailers.
    pub fn needs_trailers(&self) -> bool {
        let mut needs = false;
        self.each(&mut |field| needs |= matches!(field, Field::ResponseTrailer(..)));
        needs
    }

    fn each(&self, visit: &mut impl FnMut(&Field)) {
        fn of_pieces(pieces: &[Piece], visit: &mut impl FnMut(&Field)) {
            for piece in pieces {
                if let Piece::Operator(operator) = piece {
                    visit(&operator.field);
                }
            }
        }
        fn of_json(json: &Json, visit: &mut impl FnMut(&Field)) {
            match json {
                Json::Typed(operator) => visit(&operator.field),
                Json::Text(pieces) => of_pieces(pieces, visit),
                Json::Object(members) => members.iter().for_each(|(_, member)| of_json(member, visit)),
                Json::Array(members) => members.iter().for_each(|member| of_json(member, visit)),
                Json::Constant(_) => {}
            }
        }
        match &self.shape {
            Shape::Text(pieces) => of_pieces(pieces, visit),
            Shape::Json(members) => members.iter().for_each(|(_, member)| of_json(member, visit)),
        }
    }

    /// Writes one entry. JSON entries end with a newline, text entries with what their format says.
    pub fn render(&self, entry: &Entry<'_>, out: &mut String) {
        match &self.shape {
            Shape::Text(pieces) => render_text(pieces, entry, self.omit_empty, out, false),
            Shape::Json(members) => {
                render_object(members, entry, self.omit_empty, out);
                out.push('\n');
            }
        }
    }
}

fn name_of(key: Option<&HeaderKey>) -> Option<HeaderName> {
    match key {
        Some(HeaderKey::Name(name)) => Some(name.clone()),
        _ => None,
    }
}

fn render_text(pieces: &[Piece], entry: &Entry<'_>, omit_empty: bool, out: &mut String, json: bool) {
    for piece in pieces {
        match piece {
            Piece::Literal(text) if json => push_json(out, text),
            Piece::Literal(text) => out.push_str(text),
            Piece::Operator(operator) => match entry.value(&operator.field) {
                Value::Missing if omit_empty => {}
                Value::Missing => out.push('-'),
                Value::Number(number) => push_number(out, number),
                Value::Text(text) if json => push_json(out, cut(&text, operator.length)),
                Value::Text(text) => push_text(out, cut(&text, operator.length)),
                Value::Shown(shown) => {
                    let start = out.len();
                    let _ = write!(out, "{shown}");
                    truncate(out, start, operator.length);
                }
            },
        }
    }
}

fn render_object(members: &[(String, Json)], entry: &Entry<'_>, omit_empty: bool, out: &mut String) {
    out.push('{');
    let mut first = true;
    for (key, member) in members {
        if omit_empty && matches!(member, Json::Typed(operator) if entry.value(&operator.field).is_missing())
        {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        out.push('"');
        push_json(out, key);
        out.push_str("\":");
        render_json(member, entry, omit_empty, out);
    }
    out.push('}');
}

fn render_json(json: &Json, entry: &Entry<'_>, omit_empty: bool, out: &mut String) {
    match json {
        Json::Typed(operator) => match entry.value(&operator.field) {
            Value::Missing => out.push_str("null"),
            Value::Number(number) => push_number(out, number),
            Value::Text(text) => {
                out.push('"');
                push_json(out, cut(&text, operator.length));
                out.push('"');
            }
            Value::Shown(shown) => {
                out.push('"');
                let start = out.len();
                let _ = write!(out, "{shown}");
                truncate(out, start, operator.length);
                out.push('"');
            }
        },
        Json::Text(pieces) => {
            out.push('"');
            render_text(pieces, entry, omit_empty, out, true);
            out.push('"');
        }
        Json::Object(members) => render_object(members, entry, omit_empty, out),
        Json::Array(members) => {
            out.push('[');
            for (index, member) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                render_json(member, entry, omit_empty, out);
            }
            out.push(']');
        }
        Json::Constant(text) => out.push_str(text),
    }
}

fn push_number(out: &mut String, number: u64) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn cut(text: &str, length: Option<usize>) -> &str {
    match length {
        Some(length) if length < text.len() => text.get(..floor_boundary(text, length)).unwrap_or_default(),
        _ => text,
    }
}

fn truncate(out: &mut String, start: usize, length: Option<usize>) {
    if let Some(length) = length.filter(|length| out.len() - start > *length) {
        let end = floor_boundary(out, start + length);
        out.truncate(end);
    }
}

fn floor_boundary(text: &str, mut index: usize) -> usize {
    while index > 0 && !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// A client chooses many of these texts; neither a quote nor a control character of its own may
/// look like ours.
fn push_text(out: &mut String, text: &str) {
    if !text.bytes().any(|byte| byte == b'"' || byte < 0x20 || byte == 0x7f) {
        out.push_str(text);
        return;
    }
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            control if control.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
}

fn push_json(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            control if control.is_ascii_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
}

fn object(format: &Struct) -> Result<Vec<(String, Json)>, String> {
    let mut members = format
        .fields
        .iter()
        .map(|(key, value)| Ok((key.clone(), json(value.kind.as_ref())?)))
        .collect::<Result<Vec<_>, String>>()?;
    members.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(members)
}

fn json(kind: Option<&Kind>) -> Result<Json, String> {
    Ok(match kind {
        None | Some(Kind::NullValue(_)) => Json::Constant("null".to_owned()),
        Some(Kind::BoolValue(value)) => Json::Constant(value.to_string()),
        Some(Kind::NumberValue(number)) => Json::Constant(number.to_string()),
        Some(Kind::StringValue(text)) => match <[Piece; 1]>::try_from(pieces(text)?) {
            Ok([Piece::Operator(operator)]) => Json::Typed(operator),
            Ok([literal]) => Json::Text(vec![literal]),
            Err(pieces) => Json::Text(pieces),
        },
        Some(Kind::StructValue(members)) => Json::Object(object(members)?),
        Some(Kind::ListValue(list)) => {
            Json::Array(list.values.iter().map(|value| json(value.kind.as_ref())).collect::<Result<_, _>>()?)
        }
    })
}

/// Splits a text format at its operators. `%%` is a percent sign.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('%') {
        let (before, after) = rest.split_at(start);
        literal.push_str(before);
        let after = after.strip_prefix('%').unwrap_or(after);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let (operator, after) = operator(after)?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Operator(operator));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Parses `COMMAND(arguments):LENGTH%` and gives what follows.
fn operator(text: &str) -> Result<(Operator, &str), String> {
    let end = text
        .find(|letter: char| !(letter.is_ascii_uppercase() || letter == '_' || letter.is_ascii_digit()))
        .ok_or_else(|| format!("'%{text}' has no closing '%'"))?;
    let (command, rest) = text.split_at(end);
    let (arguments, rest) = match rest.strip_prefix('(') {
        None => (None, rest),
        Some(rest) => {
            let (arguments, rest) =
                rest.split_once(')').ok_or_else(|| format!("'%{command}(' has no closing ')'"))?;
            (Some(arguments), rest)
        }
    };
    let (length, rest) = match rest.strip_prefix(':') {
        None => (None, rest),
        Some(rest) => {
            let (digits, _) = rest.split_once('%').unwrap_or((rest, ""));
            let length =
                digits.parse().map_err(|_| format!("'%{command}:{digits}' needs a length in bytes"))?;
            (Some(length), rest.get(digits.len()..).unwrap_or_default())
        }
    };
    let rest = rest.strip_prefix('%').ok_or_else(|| format!("'%{command}' has no closing '%'"))?;
    Ok((Operator { field: field(command, arguments)?, length }, rest))
}

fn field(command: &str, arguments: Option<&str>) -> Result<Field, String> {
    match (command, arguments) {
        ("REQ", Some(names)) => header_keys(names).map(|(first, second)| Field::RequestHeader(first, second)),
        ("RESP", Some(names)) => {
            header_keys(names).map(|(first, second)| Field::ResponseHeader(first, second))
        }
        ("TRAILER", Some(names)) => {
            header_keys(names).map(|(first, second)| Field::ResponseTrailer(first, second))
        }
        ("REQ_WITHOUT_QUERY", Some(":PATH" | ":path")) => Ok(Field::PathWithoutQuery),
        ("PATH", Some("NQ") | Some("NQ:PATH")) => Ok(Field::PathWithoutQuery),
        ("PATH", Some("WQ") | Some("WQ:PATH")) => Ok(Field::RequestHeader(HeaderKey::Path, None)),
        ("START_TIME", format) => {
            Ok(Field::StartTime(format.filter(|text| !text.is_empty()).map(str::to_owned)))
        }
        ("ENVIRONMENT", Some(name)) => {
            let name = name.split(':').next().unwrap_or(name);
            Ok(Field::Constant(std::env::var(name).unwrap_or_default()))
        }
        ("GRPC_STATUS", Some("NUMBER")) => Ok(Field::Plain(Plain::GrpcStatusNumber)),
        ("GRPC_STATUS", Some("CAMEL_STRING")) => Ok(Field::Plain(Plain::GrpcStatus)),
        (command, None) => Plain::parse(command)
            .map(Field::Plain)
            .ok_or_else(|| format!("'%{command}%' is not an operator this proxy knows")),
        (command, Some(arguments)) => {
            Err(format!("'%{command}({arguments})%' is not an operator this proxy knows"))
        }
    }
}

fn header_keys(names: &str) -> Result<(HeaderKey, Option<HeaderKey>), String> {
    match names.split_once('?') {
        Some((first, second)) => Ok((header_key(first)?, Some(header_key(second)?))),
        None => Ok((header_key(names)?, None)),
    }
}

fn header_key(name: &str) -> Result<HeaderKey, String> {
    Ok(match name.to_ascii_lowercase().as_str() {
        ":method" => HeaderKey::Method,
        ":path" => HeaderKey::Path,
        ":authority" | "host" => HeaderKey::Authority,
        ":scheme" => HeaderKey::Scheme,
        ":status" => HeaderKey::Status,
        lower => HeaderKey::Name(
            HeaderName::from_bytes(lower.as_bytes()).map_err(|_| format!("'{name}' is not a header name"))?,
        ),
    })
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
