//! One connection, on a thread of its own.
//!
//! The ledger is synchronous, and PostgreSQL's client is not. A thread with a small runtime keeps the
//! connection, so that whoever calls may stand inside another runtime or in none; orders and answers go
//! through channels. Nothing is prepared under a name, and no setting outlives a transaction: behind a
//! pooler the next transaction may reach another server process, or another server.

use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::place::PostgresPlace;

/// How long a connection may take, with all servers of the URL.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// How long a statement may take: longer than the server's own limit, which has better words.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// How long the server is asked to stop a statement that took too long.
const CANCEL_MAX: Duration = Duration::from_secs(1);

/// What every change is followed by, see `functions.sql`.
const DURABLE: &str = "SELECT tollgate.durable()";

/// A value in a statement.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A text, or nothing.
    Text(Option<String>),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Value::Text(text)
    }
}

impl Value {
    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Value::Text(text) => (text, Type::TEXT),
            Value::Number(number) => (number, Type::INT8),
            Value::Flag(flag) => (flag, Type::BOOL),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The client or the server says so.
    Error(tokio_postgres::Error),
    /// It took too long.
    TimedOut(&'static str),
    /// The thread cannot be had.
    NoThread(std::io::Error),
    /// It was carried out, and is not known to be durable.
    Unsettled(tokio_postgres::Error),
    /// It was carried out, and all is durable where another process says so, which may not know of it.
    Elsewhere,
}

type Answer<T> = mpsc::SyncSender<Result<T, Broken>>;

enum Order {
    /// One statement.
    Query(&'static str, Vec<Value>, Answer<Vec<Row>>),
    /// One statement whose rows are to be told, and that they are durable.
    Read(&'static str, Vec<Value>, Answer<Vec<Row>>),
    /// One call of a function that changes something, and then that it is durable; in one transaction or in two.
    Change(&'static str, Vec<Value>, bool, Answer<Vec<Row>>),
    /// Several without parameters or answers.
    Batch(String, Answer<()>),
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Link {
    orders: UnboundedSender<Order>,
}

impl Link {
    /// Connects.
    pub(super) fn open(place: &PostgresPlace) -> Result<Self, Broken> {
        let (orders, taken) = unbounded_channel();
        let (ready, is_ready) = mpsc::sync_channel(1);
        let place = place.clone();
        let thread = std::thread::Builder::new().name("ledger".to_owned());
        thread.spawn(move || work(&place, taken, &ready)).map_err(Broken::NoThread)?;
        is_ready.recv().unwrap_or(Err(Broken::TimedOut("its connection ended")))?;
        Ok(Self { orders })
    }

    /// Carries out one statement.
    pub(super) fn query(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, Broken> {
        let (answer, answered) = mpsc::sync_channel(1);
        let _ = self.orders.send(Order::Query(sql, values, answer));
        answered.recv().unwrap_or(Err(Broken::TimedOut("its connection ended")))
    }

    /// Carries out one statement that reads, and answers when what it has read is durable.
    pub(super) fn read(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, Broken> {
        let (answer, answered) = mpsc::sync_channel(1);
        let _ = self.orders.send(Order::Read(sql, values, answer));
        answered.recv().unwrap_or(Err(Broken::TimedOut("its connection ended")))
    }

    /// Carries out one `SELECT` of a function that changes something, and answers when that is durable. In two
    /// transactions nobody waits for this one's disk; in one it may be led to any process.
    pub(super) fn change(
        &self,
        sql: &'static str,
        values: Vec<Value>,
        in_one: bool,
    ) -> Result<Vec<Row>, Broken> {
        let (answer, answered) = mpsc::sync_channel(1);
        let _ = self.orders.send(Order::Change(sql, values, in_one, answer));
        answered.recv().unwrap_or(Err(Broken::TimedOut("its connection ended")))
    }

    /// Carries out several statements that return nothing.
    pub(super) fn batch(&self, sql: impl Into<String>) -> Result<(), Broken> {
        let (answer, answered) = mpsc::sync_channel(1);
        let _ = self.orders.send(Order::Batch(sql.into(), answer));
        answered.recv().unwrap_or(Err(Broken::TimedOut("its connection ended")))
    }
}

/// The thread: connects, and carries out orders until nobody has any more.
fn work(place: &PostgresPlace, mut orders: UnboundedReceiver<Order>, ready: &Answer<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(Broken::NoThread(error)))),
    };
    runtime.block_on(async {
        let client = match timeout(CONNECT_MAX, connect(place)).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return drop(ready.send(Err(Broken::Error(error)))),
            Err(_) => return drop(ready.send(Err(Broken::TimedOut("it did not answer in time")))),
        };
        let _ = ready.send(Ok(()));
        while let Some(order) = orders.recv().await {
            let in_time = match order {
                Order::Query(sql, values, answer) => {
                    let values: Vec<_> = values.iter().map(Value::typed).collect();
                    let rows = async { client.query_typed(sql, &values).await.map_err(Broken::Error) };
                    done(timeout(ANSWER_MAX, rows).await, &answer)
                }
                Order::Read(sql, values, answer) | Order::Change(sql, values, true, answer) => {
                    done(timeout(ANSWER_MAX, in_one(&client, sql, &values)).await, &answer)
                }
                Order::Change(sql, values, false, answer) => {
                    done(timeout(ANSWER_MAX, in_two(&client, sql, &values)).await, &answer)
                }
                Order::Batch(sql, answer) => {
                    let batch = async { client.batch_execute(&sql).await.map_err(Broken::Error) };
                    done(timeout(ANSWER_MAX, batch).await, &answer)
                }
            };
            if !in_time {
                let _ = timeout(CANCEL_MAX, client.cancel_token().cancel_query(place.connector())).await;
                return;
            }
        }
    });
}

/// Hands an outcome over; false where the statement is still under way.
fn done<T>(outcome: Result<Result<T, Broken>, tokio::time::error::Elapsed>, answer: &Answer<T>) -> bool {
    let in_time = outcome.is_ok();
    let _ = answer.send(outcome.unwrap_or(Err(Broken::TimedOut("it did not answer in time"))));
    in_time
}

/// Both statements leave at once, each is a transaction, and the server takes them one after the other.
async fn in_two(client: &Client, sql: &str, values: &[Value]) -> Result<Vec<Row>, Broken> {
    let values: Vec<_> = values.iter().map(Value::typed).collect();
    let sql = format!("{sql}, tollgate.session()");
    let (told, durable) = tokio::join!(client.query_typed(&sql, &values), client.query_typed(DURABLE, &[]));
    let (rows, durable) = (told.map_err(Broken::Error)?, durable.map_err(Broken::Unsettled)?);
    let there = |rows: &[Row]| -> Option<String> { rows.first()?.try_get(rows.first()?.len() - 1).ok()? };
    match (there(&rows), there(&durable)) {
        (Some(one), Some(other)) if one == other => Ok(rows),
        _ => Err(Broken::Elsewhere),
    }
}

/// All leave at once, as one transaction.
async fn in_one(client: &Client, sql: &str, values: &[Value]) -> Result<Vec<Row>, Broken> {
    let values: Vec<_> = values.iter().map(Value::typed).collect();
    let (began, told, durable, done) = tokio::join!(
        client.batch_execute("BEGIN"),
        client.query_typed(sql, &values),
        client.query_typed(DURABLE, &[]),
        client.batch_execute("COMMIT"),
    );
    // What fails before the commit makes that take all of it back.
    began.map_err(Broken::Error)?;
    let rows = told.map_err(Broken::Error)?;
    durable.map_err(Broken::Error)?;
    done.map_err(Broken::Unsettled)?;
    Ok(rows)
}

async fn connect(place: &PostgresPlace) -> Result<Client, tokio_postgres::Error> {
    let first = place.limited().connect(place.connector()).await;
    let (client, connection) = match first {
        // A pooler that does not know the limits refuses the connection for them.
        Err(error) if place.limits && error.code().is_some_and(|code| code.code() == "08P01") => {
            place.config.connect(place.connector()).await?
        }
        other => other?,
    };
    // Ends when the client is dropped, or the server goes away: the client says so then.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}
