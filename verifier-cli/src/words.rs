//! The verdict in plain words.

use crate::finding::Code;
use crate::verdict::AuditVerdict;
pub(crate) fn audit(_: &AuditVerdict, _: bool) -> String {
    String::new()
}
pub(crate) fn receipt(_: &crate::receipt::ReceiptVerdict, _: bool) -> String {
    String::new()
}
pub(crate) fn all_codes() -> String {
    String::new()
}
pub(crate) fn code(_: Code) -> String {
    String::new()
}
