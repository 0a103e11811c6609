//! A bucket of S3, or of a server that speaks its protocol, read as anybody may: without credentials. What an auditor needs of the protocol is plain HTTP and two kinds of lists.
//!
//! `s3://bucket/prefix`; region and endpoint stand behind it (`?region=eu-central-1&endpoint=https://…`) or in the environment, as for AWS's own tools.

use std::collections::BTreeSet;

use reqwest::Url;
use roxmltree::{Document, Node};

use super::{Fetched, Http, Listed, ListedKind, Source, SourceError};

/// A page of a list has 1,000 names at most, each of at most 1,024 bytes, and what is said of them.
const PAGE_LEN_MAX: usize = 8 << 20;
/// A thousand names each.
const PAGES_MAX: usize = 100_000;
/// The same of versions, which are kept whole: an anchor has one object for each head, 240,000 in four weeks of one every ten seconds.
const VERSION_PAGES_MAX: usize = 3_000;

/// A part of a bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// At the bucket itself.
    http: Http,
    name: String,
    /// What all keys begin with: empty, or with a slash at its end.
    prefix: String,
}

/// One version of an object, or a delete marker, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The key below the prefix.
    pub path: String,
    /// Its id.
    pub id: String,
    /// Whether it is a delete marker: it hides what is below it, and holds nothing.
    pub is_marker: bool,
    /// When it was stored, by the store's clock: as the store writes it.
    pub modified: String,
}

/// A version of an object, read.
#[derive(Debug)]
pub struct Stored {
    /// Its bytes.
    pub content: Fetched,
    /// Its lock, if it has one.
    pub lock: Option<Lock>,
}

/// How a version is locked, in the store's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// `COMPLIANCE`, which nobody can lift, or `GOVERNANCE`.
    pub mode: String,
    /// Until when.
    pub until: String,
}

impl Bucket {
    /// Nothing is asked for yet.
    ///
    /// # Errors
    /// No such address, or nothing says in which region the bucket is.
    pub fn new(given: &str) -> Result<Self, SourceError> {
        Self::with(given, |name| std::env::var(name).ok())
    }

    fn with(given: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, SourceError> {
        let wrong = |what: &str| SourceError::new(given, what);
        let url = Url::parse(given).map_err(|error| SourceError::new(given, error))?;
        let name = url.host_str().unwrap_or_default();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if url.scheme() != "s3" || name.is_empty() || !name.chars().all(fits) {
            return Err(wrong(
                "this is no bucket: give s3://bucket/prefix?region=eu-central-1",
            ));
        }
        let mut region = None;
        let mut endpoint = None;
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "region" => region = Some(value.into_owned()),
                "endpoint" => endpoint = Some(value.into_owned()),
                _ => return Err(wrong("only `region` and `endpoint` may stand after the ?")),
            }
        }
        let endpoint = endpoint
            .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
            .or_else(|| variable("AWS_ENDPOINT_URL"));
        let region = region.or_else(|| variable("AWS_REGION"));
        let address = match (endpoint, region) {
            (Some(endpoint), _) => format!("{}/{name}/", endpoint.trim_end_matches('/')),
            (None, Some(region)) => {
                let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                if region.is_empty() || !region.chars().all(is_part) {
                    return Err(wrong("its region is no name of a region"));
                }
                let domain = match region.starts_with("cn-") {
                    true => "amazonaws.com.cn",
                    false => "amazonaws.com",
                };
                // A certificate of AWS covers one name before the service's.
                match name.contains('.') {
                    true => format!("https://s3.{region}.{domain}/{name}/"),
                    false => format!("https://{name}.s3.{region}.{domain}/"),
                }
            }
            (None, None) => {
                return Err(wrong(
                    "nothing says in which region this bucket is: add ?region=eu-central-1 (or ?endpoint=https://…), or set AWS_REGION",
                ));
            }
        };
        let prefix = url.path().trim_matches('/');
        Ok(Self {
            http: Http::new(&address)?,
            name: name.to_owned(),
            prefix: match prefix {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            },
        })
    }

    /// A folder below this one.
    #[must_use]
    pub fn below(&self, folder: &str) -> Self {
        Self {
            prefix: format!("{}{folder}/", self.prefix),
            ..self.clone()
        }
    }

    /// Where it is, for people.
    #[must_use]
    pub fn place(&self) -> String {
        format!("s3://{}/{} at {}", self.name, self.prefix, self.http.base())
    }

    /// All versions of what is below a folder, and delete markers: of each key the newest first.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn versions(&self, folder: &str) -> Result<Vec<Version>, SourceError> {
        let prefix = format!("{}{folder}/", self.prefix);
        let mut versions = Vec::new();
        let mut markers = [String::new(), String::new()];
        for _ in 0..VERSION_PAGES_MAX {
            let [key, version] = &markers;
            let mut query = vec![("versions", ""), ("prefix", prefix.as_str())];
            if !key.is_empty() {
                query.push(("key-marker", key));
            }
            if !version.is_empty() {
                query.push(("version-id-marker", version));
            }
            let page = self.page(folder, &query, "s3:ListBucketVersions")?;
            let document = parse(folder, &page)?;
            let root = document.root_element();
            for one in root.children().filter(Node::is_element) {
                let is_marker = match one.tag_name().name() {
                    "Version" => false,
                    "DeleteMarker" => true,
                    _ => continue,
                };
                let key = text(one, "Key").unwrap_or_default();
                versions.push(Version {
                    path: key
                        .strip_prefix(&self.prefix)
                        .ok_or_else(|| SourceError::new(folder, "the list names other keys"))?
                        .to_owned(),
                    id: text(one, "VersionId").unwrap_or_default(),
                    is_marker,
                    modified: text(one, "LastModified").unwrap_or_default(),
                });
            }
            if text(root, "IsTruncated").as_deref() != Some("true") {
                return Ok(versions);
            }
            let next = ["NextKeyMarker", "NextVersionIdMarker"];
            let next = next.map(|name| text(root, name).unwrap_or_default());
            if next == markers {
                return Err(SourceError::new(folder, "its list does not end"));
            }
            markers = next;
        }
        Err(SourceError::new(folder, "its list is too long"))
    }

    /// One version of an object, and how it is locked.
    ///
    /// # Errors
    /// It cannot be read, or the bucket does not show its lock to everybody.
    pub fn version(&self, path: &str, id: &str, max_len: usize) -> Result<Stored, SourceError> {
        let key = format!("{}{path}", self.prefix);
        let url = self.ask(&key, &[("versionId", id)])?;
        let answer = self.http.fetch(url, path, max_len)?;
        let header = |name: &str| {
            let value = answer.headers.get(name)?.to_str().ok()?;
            Some(value.chars().take(100).collect::<String>())
        };
        let mode = header("x-amz-object-lock-mode");
        let lock = match mode.zip(header("x-amz-object-lock-retain-until-date")) {
            Some((mode, until)) => Some(Lock { mode, until }),
            // Not locked, or not shown: that is asked for by itself.
            None => self.lock(&key, path, id)?,
        };
        Ok(Stored {
            content: answer.content,
            lock,
        })
    }

    fn lock(&self, key: &str, path: &str, id: &str) -> Result<Option<Lock>, SourceError> {
        let url = self.ask(key, &[("retention", ""), ("versionId", id)])?;
        let answer = self.http.fetch(url, path, PAGE_LEN_MAX).map_err(|error| {
            let why = format!(
                "whether it is locked: {} (does the bucket grant s3:GetObjectRetention to everybody?)",
                error.problem
            );
            SourceError::new(path, why)
        })?;
        let Fetched::File(bytes) = answer.content else {
            return Ok(None);
        };
        let page = String::from_utf8(bytes).map_err(|error| SourceError::new(path, error))?;
        let document = parse(path, &page)?;
        let root = document.root_element();
        let mode = text(root, "Mode").zip(text(root, "RetainUntilDate"));
        Ok(mode.map(|(mode, until)| Lock { mode, until }))
    }

    fn ask(&self, key: &str, query: &[(&str, &str)]) -> Result<Url, SourceError> {
        let mut url = self.http.base().clone();
        {
            let mut parts = url
                .path_segments_mut()
                .map_err(|()| SourceError::new(key, "no address of a bucket"))?;
            // The address ends with a slash.
            parts.pop_if_empty();
            if key.is_empty() {
                parts.push("");
            } else {
                parts.extend(key.split('/'));
            }
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    fn page(
        &self,
        folder: &str,
        query: &[(&str, &str)],
        action: &str,
    ) -> Result<String, SourceError> {
        let answer = self.http.fetch(self.ask("", query)?, folder, PAGE_LEN_MAX);
        let answer = answer.map_err(|error| {
            let why = format!(
                "{} (does the bucket grant {action} to everybody?)",
                error.problem
            );
            SourceError::new(folder, why)
        })?;
        match answer.content {
            Fetched::File(bytes) => {
                String::from_utf8(bytes).map_err(|error| SourceError::new(folder, error))
            }
            _ => Err(SourceError::new(
                folder,
                "there is no such bucket, or its list is too long",
            )),
        }
    }
}

impl Source for Bucket {
    fn read(&self, path: &str, max_len: usize) -> Result<Fetched, SourceError> {
        let url = self.ask(&format!("{}{path}", self.prefix), &[])?;
        let answer = self.http.fetch(url, path, max_len).map_err(|error| {
            if !error.problem.contains("403") {
                return error;
            }
            SourceError::new(
                path,
                format!(
                    "{}: not readable by everybody, or not there (a bucket that does not grant s3:ListBucket to everybody does not tell)",
                    error.problem
                ),
            )
        })?;
        Ok(answer.content)
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<Listed>>, SourceError> {
        let prefix = match folder {
            "" => self.prefix.clone(),
            folder => format!("{}{folder}/", self.prefix),
        };
        let mut names = BTreeSet::new();
        let mut token = String::new();
        for _ in 0..PAGES_MAX {
            let mut query = vec![
                ("list-type", "2"),
                ("delimiter", "/"),
                ("prefix", prefix.as_str()),
            ];
            if !token.is_empty() {
                query.push(("continuation-token", &token));
            }
            let page = self.page(folder, &query, "s3:ListBucket")?;
            let document = parse(folder, &page)?;
            let root = document.root_element();
            for one in root.children().filter(Node::is_element) {
                let (key, kind) = match one.tag_name().name() {
                    "Contents" => (text(one, "Key"), ListedKind::File),
                    "CommonPrefixes" => (text(one, "Prefix"), ListedKind::Folder),
                    _ => continue,
                };
                let key = key.unwrap_or_default();
                let name = key
                    .strip_prefix(&prefix)
                    .ok_or_else(|| SourceError::new(folder, "the list names other keys"))?;
                names.insert(Listed {
                    name: name.trim_end_matches('/').to_owned(),
                    kind,
                });
            }
            if text(root, "IsTruncated").as_deref() != Some("true") {
                return Ok(Some(names.into_iter().collect()));
            }
            let next = text(root, "NextContinuationToken").unwrap_or_default();
            if next.is_empty() || next == token {
                return Err(SourceError::new(folder, "its list does not end"));
            }
            token = next;
        }
        Err(SourceError::new(folder, "its list is too long"))
    }

    fn parallel_reads(&self) -> usize {
        self.http.parallel_reads()
    }
}

/// No DTD, so nothing in it is expanded.
fn parse<'p>(folder: &str, page: &'p str) -> Result<Document<'p>, SourceError> {
    Document::parse(page).map_err(|error| SourceError::new(folder, error))
}

fn text(of: Node<'_, '_>, name: &str) -> Option<String> {
    let mut children = of.children();
    let child = children.find(|child| child.tag_name().name() == name)?;
    child.text().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(given: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Bucket::with(given, variable)
            .map(|bucket| format!("{}{}", bucket.http.base(), bucket.prefix))
            .map_err(|error| error.problem)
    }

    #[test]
    fn a_bucket_has_an_address() {
        let region = [("AWS_REGION", "eu-west-1")];
        for (given, variables, expected) in [
            (
                "s3://votes/a/b?region=us-east-2",
                &[][..],
                "https://votes.s3.us-east-2.amazonaws.com/a/b/",
            ),
            (
                "s3://votes",
                &region[..],
                "https://votes.s3.eu-west-1.amazonaws.com/",
            ),
            (
                "s3://votes/?region=cn-north-1",
                &region[..],
                "https://votes.s3.cn-north-1.amazonaws.com.cn/",
            ),
            (
                "s3://vo.tes/",
                &region[..],
                "https://s3.eu-west-1.amazonaws.com/vo.tes/",
            ),
            (
                "s3://votes/a/?endpoint=http://127.0.0.1:9/",
                &region[..],
                "http://127.0.0.1:9/votes/a/",
            ),
            (
                "s3://votes/",
                &[("AWS_ENDPOINT_URL", "https://s3.example")][..],
                "https://s3.example/votes/",
            ),
        ] {
            assert_eq!(
                address(given, variables),
                Ok(expected.to_owned()),
                "{given}"
            );
        }
        let refused = address("s3://votes/a", &[]).unwrap_err();
        assert!(refused.contains("?region="), "{refused}");
        for given in [
            "s3:///a",
            "s3://",
            "s3:///a?region=eu-west-1",
            "http://votes/a?region=eu-west-1",
            "s3://votes?region=",
            "s3://votes?region=EU",
            "s3://votes?region=a/b",
            "s3://votes?regio=a",
            "s3://VO_TES?region=a",
        ] {
            assert!(address(given, &[]).is_err(), "{given}");
        }
    }

    #[test]
    fn a_list_that_would_grow_when_it_is_read_is_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
        assert!(parse("", bomb).is_err());
    }
}
