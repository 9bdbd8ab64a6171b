use super::*;
use crate::credential::{Credential, TrustBundle};
use crate::secret::{SecretStore, SecretValue};
use crate::subject::NameMatcher;
use crate::test_authority::Authority;
use rcgen::SanType;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn credential(authority: &Authority, id: &str) -> SecretValue {
    let (chain, key) = authority.issue_spiffe(id);
    certificate(&chain, &key)
}

fn certificate(chain: &str, key: &str) -> SecretValue {
    SecretValue::Certificate(Arc::new(
        Credential::from_pem(chain.as_bytes(), key.as_bytes()).expect("credential"),
    ))
}

fn trust(authority: &Authority) -> Arc<SecretSlot> {
    let bundle = TrustBundle::from_pem(authority.root.as_bytes()).expect("bundle");
    SecretSlot::fixed("ROOTCA", SecretValue::Trust(Arc::new(bundle)))
}

fn server(certificate: Arc<SecretSlot>, verification: Option<Verification>) -> ServerSettings {
    ServerSettings {
        certificates: vec![certificate],
        session_tickets: true,
        session_cache: true,
        require_client_certificate: verification.is_some(),
        verification,
        application_protocols: vec![b"istio".to_vec(), b"h2".to_vec()],
        lowest: Version::Tls12,
        highest: Version::Tls13,
    }
}

fn client(certificate: Option<Arc<SecretSlot>>, verification: Verification) -> ClientSettings {
    ClientSettings {
        certificate,
        verification,
        application_protocols: vec![b"istio".to_vec()],
        lowest: Version::Tls12,
        highest: Version::Tls13,
    }
}

/// Runs a handshake and an echo of one byte; the errors of client and server otherwise.
async fn meet(client: &ClientSettings, server: &ServerSettings) -> Result<Vec<u8>, String> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = tokio_rustls::TlsAcceptor::from(server.build().expect("server"));
    let connector = tokio_rustls::TlsConnector::from(client.build().expect("client"));
    let serve = async {
        let mut stream = acceptor.accept(far).await?;
        let byte = stream.read_u8().await?;
        stream.write_u8(byte).await?;
        stream.shutdown().await
    };
    let call = async {
        let name = ServerName::try_from("a.example.com").expect("name");
        let mut stream = connector.connect(name, near).await?;
        stream.write_u8(7).await?;
        stream.read_u8().await?;
        Ok::<_, std::io::Error>(stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec())
    };
    let (served, called) = tokio::join!(serve, call);
    served.map_err(|error| format!("server: {error}"))?;
    called.map_err(|error| format!("client: {error}"))
}

#[tokio::test]
async fn mutual_tls_with_the_expected_identity_succeeds() {
    let authority = Authority::new("root");
    let (store, roots) = (SecretStore::default(), trust(&authority));
    store.set("client", credential(&authority, "spiffe://td/ns/a/sa/client"), "1");
    store.set("server", credential(&authority, "spiffe://td/ns/a/sa/server"), "1");
    let names = [NameMatcher::exact_uri("spiffe://td/ns/a/sa/server")];
    let client = client(Some(store.slot("client")), Verification::spiffe(Arc::clone(&roots), names));
    let server = server(store.slot("server"), Some(Verification::spiffe(roots, [])));
    assert_eq!(meet(&client, &server).await, Ok(b"istio".to_vec()));
}

#[tokio::test]
async fn another_identity_is_refused() {
    let authority = Authority::new("root");
    let roots = trust(&authority);
    let names = [NameMatcher::exact_uri("spiffe://td/ns/a/sa/server")];
    let own = SecretSlot::fixed("client", credential(&authority, "spiffe://td/ns/a/sa/client"));
    let impostor = SecretSlot::fixed("server", credential(&authority, "spiffe://td/ns/a/sa/server2"));
    let client = client(Some(own), Verification::spiffe(Arc::clone(&roots), names));
    let server = server(impostor, Some(Verification::spiffe(roots, [])));
    assert!(meet(&client, &server).await.is_err());
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let authority = Authority::new("root");
    let roots = trust(&authority);
    let own = SecretSlot::fixed("server", credential(&authority, "spiffe://td/ns/a/sa/server"));
    let client = client(None, Verification::spiffe(Arc::clone(&roots), []));
    let server = server(own, Some(Verification::spiffe(roots, [])));
    assert!(meet(&client, &server).await.is_err());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (ours, theirs) = (Authority::new("root"), Authority::new("root"));
    let foreign = SecretSlot::fixed("client", credential(&theirs, "spiffe://td/ns/a/sa/client"));
    let own = SecretSlot::fixed("server", credential(&ours, "spiffe://td/ns/a/sa/server"));
    let client = client(Some(foreign), Verification::spiffe(trust(&ours), []));
    let server = server(own, Some(Verification::spiffe(trust(&ours), [])));
    assert!(meet(&client, &server).await.is_err());
}

#[tokio::test]
async fn two_uri_names_are_no_spiffe_identity() {
    let authority = Authority::new("root");
    let roots = trust(&authority);
    let uri = |text: &str| SanType::URI(text.try_into().expect("URI"));
    let (chain, key) = authority.issue(vec![uri("spiffe://td/ns/a/sa/x"), uri("spiffe://td/ns/a/sa/y")]);
    let double = SecretSlot::fixed("client", certificate(&chain, &key));
    let own = SecretSlot::fixed("server", credential(&authority, "spiffe://td/ns/a/sa/server"));
    let client = client(Some(double), Verification::spiffe(Arc::clone(&roots), []));
    let server = server(own, Some(Verification::spiffe(roots, [])));
    assert!(meet(&client, &server).await.is_err());
}

#[tokio::test]
async fn rotation_serves_the_next_handshake_without_a_new_configuration() {
    let authority = Authority::new("root");
    let (store, roots) = (SecretStore::default(), trust(&authority));
    let names = [NameMatcher::exact_uri("spiffe://td/ns/a/sa/new")];
    let client = client(None, Verification::spiffe(roots, names));
    let server = server(store.slot("server"), None);
    assert!(server.usable().is_err());
    assert!(meet(&client, &server).await.is_err());
    store.set("server", credential(&authority, "spiffe://td/ns/a/sa/new"), "2");
    assert!(server.usable().is_ok());
    assert!(meet(&client, &server).await.is_ok());
}

#[tokio::test]
async fn host_names_are_compared_where_it_is_asked_for() {
    let authority = Authority::new("root");
    let named = |name: &str| {
        let (chain, key) = authority.issue(vec![SanType::DnsName(name.try_into().expect("name"))]);
        server(SecretSlot::fixed("server", certificate(&chain, &key)), None)
    };
    let verification =
        Verification { roots: Some(trust(&authority)), names: [].into(), spiffe: false, server_name: true };
    let client = client(None, verification);
    assert!(meet(&client, &named("*.example.com")).await.is_ok());
    assert!(meet(&client, &named("b.example.com")).await.is_err());
}

#[test]
fn sessions_are_resumed_only_where_that_is_wanted_and_clients_are_not_verified() {
    let authority = Authority::new("root");
    let own = || SecretSlot::fixed("server", credential(&authority, "spiffe://td/ns/a/sa/server"));
    let resumes = |settings: ServerSettings| {
        let config = settings.build().expect("configuration");
        (config.send_tls13_tickets > 0, config.session_storage.can_cache())
    };
    assert_eq!(resumes(server(own(), None)), (true, true));
    let neither = ServerSettings { session_tickets: false, session_cache: false, ..server(own(), None) };
    assert_eq!(resumes(neither), (false, false));
    let verified = server(own(), Some(Verification::spiffe(trust(&authority), [])));
    assert_eq!(resumes(verified), (false, false));
}
