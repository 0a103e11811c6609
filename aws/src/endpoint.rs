//! Where requests go in place of AWS's own addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

/// An endpoint: `https://…`, or `http://…` on this very machine.
///
/// Requests carry signatures but no secrets; answers of KMS hold what was decrypted. So plain HTTP never leaves the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

/// Why an address is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not an address of the expected form.
    #[error(
        "{0:?} is no endpoint: give an address such as https://vpce-1.kms.eu-central-1.vpce.amazonaws.com, without path, user or query"
    )]
    Form(String),
    /// Plain HTTP to somewhere else.
    #[error("{0} is not encrypted and not on this machine: give an address that begins with https")]
    Plain(String),
}

impl Endpoint {
    /// The address, without a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        // What was given is not repeated where it may hold a password.
        let shown = || text.split('@').next_back().unwrap_or_default().to_owned();
        let form = || EndpointError::Form(shown());
        let url = Url::parse(text).map_err(|_| form())?;
        let host = url.host().ok_or_else(form)?;
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && matches!(url.path(), "" | "/");
        if !is_bare {
            return Err(form());
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&host) => {}
            "http" => return Err(EndpointError::Plain(shown())),
            _ => return Err(form()),
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

/// Whether plain HTTP may go to this host (as a URI has it): to this machine, and to the addresses at which a machine's or a container's own role is told, which no router passes on.
pub(crate) fn may_be_plain(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        // fd00:ec2::/32 is where AWS's machines find theirs over IPv6.
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.segments().starts_with(&[0xfd00, 0x0ec2])
        }
        Err(_) => bare == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_encrypted_or_on_this_machine() {
        for good in [
            "https://kms.eu-central-1.amazonaws.com",
            "https://kms.example:8443",
            "http://127.0.0.1:4566",
            "http://127.9.9.9:1",
            "http://[::1]:4566",
            "http://localhost:4566",
        ] {
            assert_eq!(good.parse::<Endpoint>().unwrap().as_str(), good);
        }
        assert_eq!(
            "http://127.0.0.1:1/".parse::<Endpoint>().unwrap().as_str(),
            "http://127.0.0.1:1"
        );
        for plain in [
            "http://kms.eu-central-1.amazonaws.com",
            "http://10.0.0.1:4566",
            "http://169.254.169.254",
            "http://localhost.example:4566",
            "http://0.0.0.0:4566",
        ] {
            let refused = plain.parse::<Endpoint>();
            assert_eq!(refused, Err(EndpointError::Plain(plain.to_owned())));
        }
        for other in [
            "",
            "kms.example",
            "127.0.0.1:4566",
            "ftp://127.0.0.1",
            "https://",
            "https://user:secret@kms.example",
            "https://kms.example/path",
            "https://kms.example?query",
            "https://kms.example#fragment",
        ] {
            let refused = other.parse::<Endpoint>().unwrap_err();
            assert!(matches!(refused, EndpointError::Form(_)), "{other}");
            assert!(!refused.to_string().contains("secret"));
        }
    }

    #[test]
    fn plain_http_stays_on_the_machine() {
        for host in [
            "127.0.0.1",
            "[::1]",
            "localhost",
            "169.254.169.254",
            "169.254.170.23",
            "[fd00:ec2::254]",
        ] {
            assert!(may_be_plain(host), "{host}");
        }
        for host in ["10.0.0.1", "kms.example", "[fd00::1]", "[2001:db8::1]", ""] {
            assert!(!may_be_plain(host), "{host}");
        }
    }
}
