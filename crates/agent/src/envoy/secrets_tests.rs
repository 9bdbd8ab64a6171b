use super::*;
use futures::SinkExt as _;
use futures::channel::mpsc;

fn certificates(chain: &str) -> Option<Arc<WorkloadSecrets>> {
    Some(Arc::new(WorkloadSecrets {
        certificate_chain: chain.to_owned(),
        private_key: "key".to_owned(),
        trust_bundle: "roots".to_owned(),
    }))
}

fn question(names: &[&str], nonce: &str) -> Result<DiscoveryRequest, Status> {
    Ok(DiscoveryRequest {
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        response_nonce: nonce.to_owned(),
        ..DiscoveryRequest::default()
    })
}

fn secrets(answer: &DiscoveryResponse) -> Vec<Secret> {
    answer.resources.iter().map(|any| Secret::decode(any.value.as_slice()).expect("a secret")).collect()
}

#[tokio::test]
async fn a_secret_is_sent_when_asked_for_and_again_when_it_is_renewed() {
    let (renew, current) = watch::channel(certificates("first"));
    let (mut ask, requests) = mpsc::unbounded();
    let mut answers = Box::pin(answers(current, requests.boxed()));

    ask.send(question(&["default"], "")).await.expect("a request");
    let first = answers.next().await.expect("an answer").expect("no error");
    let [Secret { name, r#type: Some(secret::Type::TlsCertificate(certificate)) }] = &secrets(&first)[..]
    else {
        panic!("{first:?}")
    };
    assert_eq!(name, "default");
    assert_eq!(certificate.certificate_chain, Some(inline("first")));

    // An acknowledgement is no question: the next answer is the renewed certificate.
    ask.send(question(&["default"], &first.nonce)).await.expect("a request");
    renew.send_replace(certificates("second"));
    let second = answers.next().await.expect("an answer").expect("no error");
    let [Secret { r#type: Some(secret::Type::TlsCertificate(certificate)), .. }] = &secrets(&second)[..]
    else {
        panic!("{second:?}")
    };
    assert_eq!(certificate.certificate_chain, Some(inline("second")));
    assert_ne!(first.version_info, second.version_info);
}

#[tokio::test]
async fn a_client_that_goes_ends_its_stream() {
    let (_renew, current) = watch::channel(certificates("first"));
    let (ask, requests) = mpsc::unbounded();
    drop(ask);
    assert!(Box::pin(answers(current, requests.boxed())).next().await.is_none());
}

#[test]
fn only_istios_names_are_known() {
    let current = certificates("first").expect("certificates");
    let names = ["ROOTCA".to_owned(), "kubernetes://other".to_owned()];
    let answer = answer(&current, &names, 1);
    let [Secret { r#type: Some(secret::Type::ValidationContext(validation)), .. }] = &secrets(&answer)[..]
    else {
        panic!("{answer:?}")
    };
    assert_eq!(validation.trusted_ca, Some(inline("roots")));
}
