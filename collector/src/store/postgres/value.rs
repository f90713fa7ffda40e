//! Values as PostgreSQL takes and gives them.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::super::sql::{self, SqlError, ValueRef};

/// A value on its way into a statement, as the type that PostgreSQL has found for its place.
#[derive(Debug)]
pub(super) struct Bound<'a>(pub(super) ValueRef<'a>);

type Refused = Box<dyn Error + Sync + Send>;

impl ToSql for Bound<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Refused> {
        match self.0 {
            ValueRef::Null => return Ok(IsNull::Yes),
            ValueRef::Bool(is) if *ty == Type::BOOL => return is.to_sql(ty, out),
            ValueRef::Bool(is) => return integer(i64::from(is), ty, out),
            ValueRef::Integer(number) => return integer(number, ty, out),
            ValueRef::Real(number) if *ty == Type::FLOAT8 => return number.to_sql(ty, out),
            ValueRef::Text(text) if is_text(ty) => {
                // PostgreSQL keeps every character but this one, which file names cannot hold either.
                if text.contains('\0') {
                    return text.replace('\0', "\u{fffd}").to_sql(ty, out);
                }
                return text.to_sql(ty, out);
            }
            ValueRef::Blob(bytes) if *ty == Type::BYTEA => return bytes.to_sql(ty, out),
            ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => {}
        }
        Err(format!("{:?} was given for a value of type {ty}", self.0).into())
    }

    fn accepts(_: &Type) -> bool {
        true // `to_sql` looks at the value, too
    }

    to_sql_checked!();
}

#[allow(clippy::cast_precision_loss)] // shares and scales are small
fn integer(number: i64, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Refused> {
    match *ty {
        Type::INT8 => number.to_sql(ty, out),
        Type::INT4 => i32::try_from(number)?.to_sql(ty, out),
        Type::INT2 => i16::try_from(number)?.to_sql(ty, out),
        Type::BOOL => (number != 0).to_sql(ty, out),
        Type::FLOAT8 => (number as f64).to_sql(ty, out),
        _ => Err(format!("an integer was given for a value of type {ty}").into()),
    }
}

fn is_text(ty: &Type) -> bool {
    [Type::TEXT, Type::VARCHAR, Type::NAME, Type::BPCHAR].contains(ty)
}

/// What a column of a row holds.
pub(in crate::store) fn value(row: &tokio_postgres::Row, column: usize) -> sql::Result<ValueRef<'_>> {
    row.try_get::<_, Held<'_>>(column).map(|held| held.0).map_err(SqlError::Postgres)
}

struct Held<'a>(ValueRef<'a>);

impl<'a> FromSql<'a> for Held<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Held<'a>, Refused> {
        Ok(Held(match *ty {
            Type::BOOL => ValueRef::Bool(bool::from_sql(ty, raw)?),
            Type::INT8 => ValueRef::Integer(i64::from_sql(ty, raw)?),
            Type::INT4 => ValueRef::Integer(i32::from_sql(ty, raw)?.into()),
            Type::INT2 => ValueRef::Integer(i16::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => ValueRef::Real(f64::from_sql(ty, raw)?),
            Type::BYTEA => ValueRef::Blob(<&[u8]>::from_sql(ty, raw)?),
            _ => ValueRef::Text(<&str>::from_sql(ty, raw)?),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Held<'a>, Refused> {
        Ok(Held(ValueRef::Null))
    }

    fn accepts(ty: &Type) -> bool {
        is_text(ty) || [Type::BOOL, Type::INT8, Type::INT4, Type::INT2, Type::FLOAT8, Type::BYTEA].contains(ty)
    }
}
