//! `istio.v1.auth.IstioCertificateService`: certificates for whoever has proved who they are.

use crate::authority::Authority;
use crate::caller::Caller;
use crate::metrics::Metrics;
use mizzen_identity::ca::SignError;
use mizzen_proto::ca::istio_certificate_service_server::IstioCertificateService;
use mizzen_proto::ca::{IstioCertificateRequest, IstioCertificateResponse};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tonic::{Request, Response, Status};

/// Signs for callers.
pub(crate) struct CertificateService {
    pub(crate) authority: Arc<Authority>,
    pub(crate) trust_domain: crate::push::TrustDomain,
    pub(crate) metrics: Arc<Metrics>,
}

#[tonic::async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.metrics.csr_count.add(&[], 1);
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous);
        let identity = caller.identity(&self.trust_domain.get()).ok_or_else(|| {
            self.metrics.authentication_failures.add(&[], 1);
            Status::unauthenticated(
                "certificates are for workloads: present a service account token for audience istio-ca, \
                 or a certificate of the mesh",
            )
        })?;
        let request = request.into_inner();
        let seconds = u64::try_from(request.validity_duration)
            .map_err(|_| Status::invalid_argument("validity_duration is negative"))?;
        let issued = self
            .authority
            .current()
            .sign(&request.csr, &identity, Duration::from_secs(seconds), SystemTime::now())
            .map_err(|error| {
                tracing::warn!(%identity, "no certificate was issued: {error}");
                match error {
                    SignError::Request(_) | SignError::WeakKey | SignError::Name(_) => {
                        self.metrics.csr_errors.add(&[], 1);
                        Status::invalid_argument(error.to_string())
                    }
                    SignError::AuthorityExpired => Status::failed_precondition(error.to_string()),
                    SignError::Signing(_) => Status::internal(error.to_string()),
                }
            })?;
        self.metrics.certificates_issued.add(&[], 1);
        tracing::debug!(%identity, "issued a certificate");
        Ok(Response::new(IstioCertificateResponse { cert_chain: issued.chain }))
    }
}
