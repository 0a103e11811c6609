//! Where voters may sign in: the only places besides the site that a page of ours may reach.

/// The most that an election may name.
const MOST: usize = 16;

/// Origins of OpenID providers, and of their token endpoints where those are elsewhere. The voting page alone may ask them (its `connect-src`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Providers(Vec<String>);

impl Providers {
    /// Takes origins such as `https://id.example.org` or `https://id.example.org:8443`: no path, no wildcard. `http` is for tries on one machine, at `localhost` or `127.0.0.1`.
    ///
    /// # Errors
    /// The first that is no such origin, or the one that is too many.
    pub fn new(origins: Vec<String>) -> Result<Self, String> {
        let wrong = |(i, origin): &(usize, &String)| *i >= MOST || !is_origin(origin);
        match origins.iter().enumerate().find(wrong) {
            Some((_, origin)) => Err(origin.clone()),
            None => Ok(Self(origins)),
        }
    }

    /// The policy, with these as places that may be asked. They hold no character that means anything in a policy or a header.
    pub(super) fn within(&self, policy: &str) -> String {
        let mut reach = "connect-src 'self'".to_owned();
        for origin in &self.0 {
            reach.push(' ');
            reach.push_str(origin);
        }
        policy.replace("connect-src 'self'", &reach)
    }
}

fn is_origin(text: &str) -> bool {
    let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return false,
    };
    let (host, port) = rest
        .split_once(':')
        .map_or((rest, None), |(host, port)| (host, Some(port)));
    let labels = host.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    });
    let port = port.is_none_or(|port| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0)
    });
    labels && port && (secure || host == "localhost" || host == "127.0.0.1")
}

#[cfg(test)]
mod tests {
    use super::Providers;

    #[test]
    fn only_origins_are_taken() {
        for good in [
            "https://id.example.org",
            "https://id.example.org:8443",
            "http://localhost:3000",
            "http://127.0.0.1:3000",
        ] {
            assert!(Providers::new(vec![good.to_owned()]).is_ok(), "{good}");
        }
        for bad in [
            "",
            "id.example.org",
            "https://",
            "https://*.example.org",
            "https://id.example.org/",
            "https://id.example.org; script-src *",
            "https://id.example.org 'unsafe-inline'",
            "https://id.example.org\r\nX: y",
            "https://id..example.org",
            "https://id.example.org:",
            "https://id.example.org:0",
            "https://id.example.org:+1",
            "https://id.example.org:65536",
            "https://user@id.example.org",
            "http://id.example.org",
            "*",
            "data:",
        ] {
            let refused = Providers::new(vec![bad.to_owned()]);
            assert_eq!(refused, Err(bad.to_owned()), "{bad}");
        }
        let many = (0..17).map(|i| format!("https://id{i}.example.org"));
        assert!(Providers::new(many.collect()).is_err());
    }

    #[test]
    fn they_are_added_to_what_may_be_asked_and_to_nothing_else() {
        let policy = "default-src 'none'; connect-src 'self'; base-uri 'none'";
        assert_eq!(Providers::default().within(policy), policy);
        let two = Providers::new(vec![
            "https://a.example.org".to_owned(),
            "https://b.example.org:1".to_owned(),
        ]);
        assert_eq!(
            two.map(|two| two.within(policy)),
            Ok("default-src 'none'; connect-src 'self' https://a.example.org https://b.example.org:1; base-uri 'none'".to_owned())
        );
    }
}
