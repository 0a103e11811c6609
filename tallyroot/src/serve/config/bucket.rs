//! A bucket of S3, where a configuration names one.

use aws::{Aws, Settings};
use ledger::bucket::{Place, PlaceError};

use super::key::{WHAT_ENDPOINT, WHAT_REGION};
use super::section::{ConfigError, Section};

/// `bucket`, `prefix`, `region` and `endpoint`, if there is a `bucket`. What it does not say is as in `[aws]`.
pub(super) fn bucket(section: &Section<'_>, aws: &Aws) -> Result<Option<Place>, ConfigError> {
    let bucket = section.text_if_any("bucket", "the name of a bucket")?;
    let prefix = section.text_if_any("prefix", "what all keys in the bucket begin with")?;
    let region = section.text_if_any("region", WHAT_REGION)?;
    let endpoint = section
        .text_if_any("endpoint", WHAT_ENDPOINT)?
        .map(|text| text.parse())
        .transpose()
        .map_err(|error: aws::EndpointError| section.error("endpoint", error.to_string()))?;
    let Some(bucket) = bucket else {
        let alone = [
            ("prefix", prefix.is_some()),
            ("region", region.is_some()),
            ("endpoint", endpoint.is_some()),
        ];
        return match alone.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(section.error(
                key,
                "it belongs to a bucket, and no `bucket` is given: give that, or remove it",
            )),
            None => Ok(None),
        };
    };
    let own = match (&region, &endpoint) {
        (None, None) => aws.clone(),
        _ => {
            let of_all = aws.settings();
            Aws::new(Settings {
                region: region.or_else(|| of_all.region.clone()),
                endpoint: endpoint.or_else(|| of_all.endpoint.clone()),
                timeouts: of_all.timeouts,
            })
        }
    };
    let place = Place::new(&bucket, prefix.as_deref().unwrap_or_default(), own);
    let place = place.map_err(|error| {
        let key = match error {
            PlaceError::Bucket(_) => "bucket",
            PlaceError::Prefix(_) => "prefix",
        };
        section.error(key, error.to_string())
    })?;
    Ok(Some(place))
}
