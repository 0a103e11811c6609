//! Batches and heads as Postgres keeps them.

use bytes::{BufMut as _, Bytes, BytesMut};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::{Head, Row, StoreError, root, signed, unsigned};
use crate::batch::{Batch, End};

/// How the binary form of COPY begins: its name, no flags, no extension.
const BEGIN: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// How it ends: a row of -1 fields.
const END: i16 = -1;

/// Copies a batch in as one row: its body goes over as it is, in one piece.
pub(super) async fn copy(
    connection: &mut PgConnection,
    epoch: u64,
    batch: &Batch,
) -> Result<(), StoreError> {
    let row = row(epoch, batch)?;
    let mut copy = connection
        .copy_in_raw("COPY batch (n, epoch, size, root, body) FROM STDIN (FORMAT binary)")
        .await?;
    copy.send(row).await?;
    let rows = copy.finish().await?;
    if rows != 1 {
        return Err(StoreError::Unknown(format!(
            "{rows} rows were written for one batch"
        )));
    }
    Ok(())
}

fn row(epoch: u64, batch: &Batch) -> Result<Bytes, StoreError> {
    let end = batch.new_end();
    let mut row = BytesMut::with_capacity(BEGIN.len() + batch.body().len() + 128);
    row.put_slice(BEGIN);
    row.put_i16(5);
    for number in [batch.n(), epoch, end.size] {
        row.put_i32(8);
        row.put_i64(signed(number)?);
    }
    for bytes in [end.root.as_bytes().as_slice(), batch.body()] {
        let len = i32::try_from(bytes.len())
            .map_err(|_| StoreError::Unknown(format!("{} bytes do not fit", bytes.len())))?;
        row.put_i32(len);
        row.put_slice(bytes);
    }
    row.put_i16(END);
    Ok(row.freeze())
}

/// A row of `batch` or `aside`.
pub(super) fn batch(row: &PgRow) -> Result<Row, StoreError> {
    let body: Vec<u8> = row.try_get("body")?;
    Ok(Row {
        n: unsigned(row.try_get("n")?)?,
        epoch: unsigned(row.try_get("epoch")?)?,
        end: end(row)?,
        body: Bytes::from(body),
    })
}

/// The row of `head`.
pub(super) fn head(row: &PgRow) -> Result<Head, StoreError> {
    Ok(Head {
        epoch: unsigned(row.try_get("epoch")?)?,
        batches: unsigned(row.try_get("batches")?)?,
        end: end(row)?,
    })
}

fn end(row: &PgRow) -> Result<End, StoreError> {
    Ok(End {
        size: unsigned(row.try_get("size")?)?,
        root: root(row.try_get("root")?)?,
    })
}
