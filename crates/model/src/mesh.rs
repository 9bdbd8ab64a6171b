//! The settings of the mesh that its snapshot depends on.

/// Settings from the mesh's ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshConfig {
    /// The namespace whose policies hold for all.
    pub root_namespace: String,
    /// Who sees services that do not say.
    pub default_service_export_to: Vec<String>,
    /// Who sees VirtualServices that do not say.
    pub default_virtual_service_export_to: Vec<String>,
    /// Who sees DestinationRules that do not say.
    pub default_destination_rule_export_to: Vec<String>,
    /// The trust domain of identities.
    pub trust_domain: String,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".to_owned(),
            default_service_export_to: Vec::new(),
            default_virtual_service_export_to: Vec::new(),
            default_destination_rule_export_to: Vec::new(),
            trust_domain: "cluster.local".to_owned(),
        }
    }
}
