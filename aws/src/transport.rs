//! The HTTP client of every request: TLS by rustls with AWS-LC against the machine's root certificates, and no plain HTTP that leaves the machine, whoever configured it.

use std::time::SystemTime;

use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::config_bag::ConfigBag;
use url::Url;

use crate::clock;
use crate::endpoint::may_be_plain;

/// A client with connections of its own.
pub(crate) fn client() -> SharedHttpClient {
    let tls = Provider::Rustls(CryptoMode::AwsLc);
    SharedHttpClient::new(Guarded(Builder::new().tls_provider(tls).build_https()))
}

/// Endpoints may come from the environment or a profile, for one service alone, after ours were checked. So every request is looked at; and of every answer, its time.
#[derive(Debug)]
struct Guarded<T>(T);

impl HttpClient for Guarded<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Guarded(self.0.http_connector(settings, components)))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

impl HttpConnector for Guarded<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        match allowed(request.uri()) {
            Ok(host) => {
                let asked = SystemTime::now();
                let answer = self.0.call(request);
                HttpConnectorFuture::new(async move {
                    let answer = answer.await?;
                    let date = answer.headers().get("date");
                    clock::note(&host, date, asked, SystemTime::now());
                    Ok(answer)
                })
            }
            Err(refusal) => HttpConnectorFuture::ready(Err(ConnectorError::user(refusal.into()))),
        }
    }
}

/// The host.
fn allowed(uri: &str) -> Result<String, String> {
    let url = Url::parse(uri).map_err(|error| format!("not an address: {error}"))?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => Ok(host.to_owned()),
        "http" if may_be_plain(host) => Ok(host.to_owned()),
        _ => Err(format!(
            "a request to {host} would leave this machine without TLS and was not sent: correct the endpoint (AWS_ENDPOINT_URL…, or the profile) to one that begins with https"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_leave_the_machine_in_plain_text_is_not_sent() {
        assert!(allowed("https://kms.eu-central-1.amazonaws.com/").is_ok());
        assert!(allowed("http://127.0.0.1:4566/").is_ok());
        assert!(allowed("http://169.254.169.254/latest/api/token").is_ok());
        let refused = allowed("http://kms.eu-central-1.amazonaws.com/").unwrap_err();
        assert!(refused.contains("without TLS"), "{refused}");
        assert!(allowed("/").is_err());
    }
}
