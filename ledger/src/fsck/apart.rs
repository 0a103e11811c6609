//! The walk behind a batch that is not the published one.

use super::{BatchFile, Branch, FsckError, Kind, Step, Walk};
use crate::batch::Batch;
use crate::store::Row;

impl Walk<'_> {
    /// Behind a batch that is not the published one: the database's rows are judged along its own branch, and all of them are put aside; the walk goes on along the published ones.
    pub(super) async fn step_apart(
        &mut self,
        n: u64,
        counted: bool,
        row: Option<Row>,
        file: BatchFile,
    ) -> Result<Step, FsckError> {
        let what = format!("batch {n}");
        let published = match self.published(n, &file.found) {
            Some(Ok(batch)) => Some(batch),
            Some(Err(error)) => {
                self.report
                    .file(&format!("batches/{n}"), Kind::BatchDamaged, Some(n), error);
                return Ok(Step::Lost);
            }
            None => None,
        };
        let same = row.as_ref().is_some_and(|row| {
            let is = |batch: &Batch| batch.new_end() == row.end && *batch.body() == row.body;
            published.as_ref().is_some_and(is)
        });
        match row {
            // One batch was exchanged, and what comes behind it was not.
            Some(_) if same => self.branch = Branch::None,
            Some(row) => self.along_the_branch(n, row),
            None if counted => {
                let detail = "the head counts it, and it is not there";
                self.report
                    .database(&what, Kind::RowMissing, Some(n), detail);
                self.branch = Branch::Lost;
            }
            None if published.is_some() => {
                let detail = "it is published, and behind the database's head: a start of the service appends it";
                self.report
                    .database(&what, Kind::NotStored, Some(n), detail);
            }
            None => {}
        }
        match published {
            Some(batch) => self.advance(&batch).await?,
            None if file.gap || !counted => return Ok(self.nothing(n, counted, file.gap)),
            None => {}
        }
        Ok(Step::Went { same })
    }

    fn along_the_branch(&mut self, n: u64, row: Row) {
        let Branch::At(range) = &mut self.branch else {
            return;
        };
        let what = format!("batch {n}");
        match Batch::from_body(n, range, row.body, row.end) {
            Ok(batch) => {
                let detail = format!(
                    "it follows on one that is not the published one, and leads to {:?}: it is put aside with that",
                    batch.new_end()
                );
                self.report
                    .database(&what, Kind::OtherBatch, Some(n), detail);
            }
            Err(error) => {
                self.report
                    .database(&what, Kind::RowDamaged, Some(n), error.to_string());
                self.branch = Branch::Lost;
            }
        }
    }
}
