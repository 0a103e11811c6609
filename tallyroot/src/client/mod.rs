//! The voter's side: what runs on a device, and knows a site only over HTTP.

pub mod in_force;
pub(crate) mod oidc;
pub mod receipts;
pub mod site;
pub mod voter;
