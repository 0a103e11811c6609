//! Labels (skeleton).

/// Why a text is no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing there.
    #[error("the label is empty")]
    Empty,
}

/// Checks a title, a name or an option.
///
/// # Errors
/// What is wrong, and where.
pub fn check_label(_label: &str, _max_bytes: usize) -> Result<(), LabelError> {
    Err(LabelError::Empty)
}
