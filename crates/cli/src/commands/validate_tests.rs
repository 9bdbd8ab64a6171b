use super::*;

#[test]
fn errors_have_the_object_its_place_and_the_field() {
    let text =
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: { name: edge }\nspec:\n  servers: []\n";
    let manifests = manifest::read("edge.yaml", text).expect("good YAML");
    let (wrong, doubtful) = findings(&manifests[0]);
    assert_eq!(
        wrong,
        ["Gateway//edge (edge.yaml:5:3): spec.servers: is required; a Gateway without servers opens no port"]
    );
    assert_eq!(doubtful.len(), 1);
    assert!(summary(&wrong).starts_with("1 error occurred:\n\t* Gateway//edge"));
}
