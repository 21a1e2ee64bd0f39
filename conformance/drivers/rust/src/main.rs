//! scylla for Rust: see programs.py for what it is told.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use scylla::SerializeRow;
use scylla::client::Compression;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::timestamp_generator::MonotonicTimestampGenerator;
use scylla::response::PagingState;
use scylla::serialize::row::SerializeRow as Values;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{Counter, CqlTimestamp, CqlValue, Row};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Several = (
    i64,
    f64,
    Vec<u8>,
    Uuid,
    CqlTimestamp,
    Vec<i32>,
    BTreeMap<String, i32>,
    Option<String>,
);

const COLUMNS: &str = "big, real, raw, id, at, ints, names, nothing";

/// The driver finds each by its name, whatever their order.
#[derive(SerializeRow)]
struct ByName {
    v: String,
    c: i32,
    k: i32,
}

struct Application {
    session: Session,
    prepared: HashMap<String, PreparedStatement>,
}

fn say(words: &[&dyn Display]) {
    let texts: Vec<String> = words.iter().map(|word| word.to_string()).collect();
    println!("{}", texts.join("\t"));
}

fn joined<T: ToString>(parts: impl IntoIterator<Item = T>) -> String {
    parts
        .into_iter()
        .map(|part| part.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

fn insert(table: &str) -> String {
    format!("INSERT INTO {table} (k, c, v) VALUES (?, ?, ?)")
}

fn insert_by_name(table: &str) -> String {
    format!("INSERT INTO {table} (k, c, v) VALUES (:k, :c, :v)")
}

fn inserted(table: &str, k: i32, c: i32, value: &str) -> String {
    format!("INSERT INTO {table} (k, c, v) VALUES ({k}, {c}, '{value}')")
}

fn select(table: &str) -> String {
    format!("SELECT k, c, v FROM {table} WHERE k = ?")
}

/// What was built in, as the lock file has it.
fn driver_version() -> &'static str {
    let package = "name = \"scylla\"\nversion = \"";
    include_str!("../Cargo.lock")
        .split(package)
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or("?")
}

async fn open(arguments: &[String]) -> Result<Session> {
    let [host, port, _data_center, version, compression, login @ ..] = arguments else {
        return Err("HOST PORT DATACENTER VERSION COMPRESSION [USER PASSWORD]".into());
    };
    if !matches!(version.as_str(), "0" | "4") {
        return Err(format!("this driver does not speak version {version}").into());
    }
    let mut builder = SessionBuilder::new()
        .known_node(format!("{host}:{port}"))
        .connection_timeout(Duration::from_secs(15))
        .timestamp_generator(Arc::new(MonotonicTimestampGenerator::new()))
        .compression(match compression.as_str() {
            "lz4" => Some(Compression::Lz4),
            "snappy" => Some(Compression::Snappy),
            _ => None,
        });
    if let [user, password] = login {
        builder = builder.user(user, password);
    }
    Ok(builder.build().await?)
}

impl Application {
    async fn prepare(&mut self, text: String) -> Result<PreparedStatement> {
        if let Some(known) = self.prepared.get(&text) {
            return Ok(known.clone());
        }
        let prepared = self.session.prepare(text.as_str()).await?;
        self.prepared.insert(text, prepared.clone());
        Ok(prepared)
    }

    async fn execute(&mut self, text: String, values: impl Values) -> Result<()> {
        let prepared = self.prepare(text).await?;
        self.session.execute_unpaged(&prepared, values).await?;
        Ok(())
    }

    /// Without preparing it first; where there are values, the driver does so by itself.
    async fn query(&self, text: &str, values: impl Values) -> Result<()> {
        self.session.query_unpaged(text, values).await?;
        Ok(())
    }

    async fn write(&mut self, way: &str, table: &str, k: i32, first: i32, last: i32) -> Result<()> {
        match way {
            "many" => self.many(table, k, first, last).await,
            "logged" => {
                self.batch(BatchType::Logged, way, table, k, first, last)
                    .await
            }
            "unlogged" => {
                self.batch(BatchType::Unlogged, way, table, k, first, last)
                    .await
            }
            "counter" => self.count(table, k, first, last).await,
            _ => {
                for c in first..=last {
                    self.write_one(way, table, k, c, format!("{way} {c} é"))
                        .await?;
                }
                Ok(())
            }
        }
    }

    async fn write_one(&mut self, way: &str, table: &str, k: i32, c: i32, v: String) -> Result<()> {
        match way {
            "text" => self.query(&inserted(table, k, c, &v), ()).await,
            "values" => self.query(&insert(table), (k, c, v)).await,
            "named" => self.query(&insert_by_name(table), ByName { v, c, k }).await,
            "bound" => self.execute(insert(table), (k, c, v)).await,
            "bound-named" => {
                self.execute(insert_by_name(table), ByName { v, c, k })
                    .await
            }
            "condition" => self.condition(table, k, c, v).await,
            _ => Err(format!("no way {way}").into()),
        }
    }

    async fn condition(&mut self, table: &str, k: i32, c: i32, v: String) -> Result<()> {
        let prepared = self
            .prepare(format!("{} IF NOT EXISTS", insert(table)))
            .await?;
        for _ in 0..2 {
            let answer = self
                .session
                .execute_unpaged(&prepared, (k, c, &v))
                .await?
                .into_rows_result()?;
            let row = answer.first_row::<Row>()?;
            let applied = row.columns[0]
                .as_ref()
                .and_then(CqlValue::as_boolean)
                .ok_or("no [applied]")?;
            say(&[&"row", &c, &applied]);
        }
        Ok(())
    }

    async fn many(&mut self, table: &str, k: i32, first: i32, last: i32) -> Result<()> {
        let prepared = self.prepare(insert(table)).await?;
        let all = (first..=last).map(|c| {
            self.session
                .execute_unpaged(&prepared, (k, c, format!("many {c} é")))
        });
        try_join_all(all).await?;
        Ok(())
    }

    async fn batch(
        &mut self,
        kind: BatchType,
        way: &str,
        table: &str,
        k: i32,
        first: i32,
        last: i32,
    ) -> Result<()> {
        let prepared = self.prepare(insert(table)).await?;
        let mut batch = Batch::new(kind);
        let mut values: Vec<Vec<CqlValue>> = Vec::new();
        for c in first..=last {
            let value = format!("{way} {c} é");
            if c % 2 == 1 {
                batch.append_statement(inserted(table, k, c, &value).as_str());
                values.push(Vec::new());
            } else {
                batch.append_statement(prepared.clone());
                values.push(vec![
                    CqlValue::Int(k),
                    CqlValue::Int(c),
                    CqlValue::Text(value),
                ]);
            }
        }
        self.session.batch(&batch, values).await?;
        Ok(())
    }

    async fn count(&mut self, table: &str, k: i32, first: i32, last: i32) -> Result<()> {
        let add = self
            .prepare(format!("UPDATE {table} SET n = n + ? WHERE k = ?"))
            .await?;
        for c in first..=last {
            self.session
                .execute_unpaged(&add, (Counter(c.into()), k))
                .await?;
        }
        let mut batch = Batch::new(BatchType::Counter);
        batch.append_statement(add);
        batch.append_statement(
            format!("UPDATE {table} SET n = n + 1000 WHERE k = {}", k + 1).as_str(),
        );
        self.session.batch(&batch, ((Counter(100), k), ())).await?;
        Ok(())
    }

    async fn types(&mut self, table: &str, k: i32) -> Result<()> {
        let several: Several = (
            i64::MIN / 2,
            2.5,
            vec![0, 255, 16],
            Uuid::parse_str("00112233-4455-6677-8899-aabbccddeeff")?,
            CqlTimestamp(1_767_323_045_678),
            vec![3, 1, 2],
            BTreeMap::from([("a".into(), 1), ("b".into(), 2)]),
            None,
        );
        let (big, real, raw, id, at, ints, names, nothing) = several;
        let text = format!("INSERT INTO {table} (k, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
        self.execute(text, (k, big, real, raw, id, at, ints, names, nothing))
            .await?;
        let prepared = self
            .prepare(format!("SELECT {COLUMNS} FROM {table} WHERE k = ?"))
            .await?;
        let answer = self
            .session
            .execute_unpaged(&prepared, (k,))
            .await?
            .into_rows_result()?;
        for row in answer.rows::<Several>()? {
            let (big, real, raw, id, at, ints, names, nothing) = row?;
            let raw: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
            let names = joined(
                names
                    .iter()
                    .map(|(name, number)| format!("{name}={number}")),
            );
            say(&[
                &"row",
                &big,
                &real,
                &raw,
                &id,
                &at.0,
                &joined(ints),
                &names,
                &nothing.as_deref().unwrap_or("null"),
            ]);
        }
        Ok(())
    }

    /// Shows the rows, and returns how many pages there were.
    async fn pages(&mut self, table: &str, k: i32, size: i32) -> Result<usize> {
        let mut prepared = self.prepare(select(table)).await?;
        prepared.set_page_size(size);
        let mut state = PagingState::start();
        for pages in 1.. {
            let (answer, next) = self
                .session
                .execute_single_page(&prepared, (k,), state)
                .await?;
            for row in answer.into_rows_result()?.rows::<(i32, i32, String)>()? {
                let (k, c, v) = row?;
                say(&[&"row", &k, &c, &v]);
            }
            match next.into_paging_control_flow() {
                ControlFlow::Break(()) => return Ok(pages),
                ControlFlow::Continue(following) => state = following,
            }
        }
        unreachable!()
    }

    async fn wait(&mut self, table: &str) -> Result<()> {
        let prepared = self.prepare(select(table)).await?;
        for attempt in 0..600 {
            let Err(error) = self.session.execute_unpaged(&prepared, (0,)).await else {
                return Ok(());
            };
            eprintln!("{error}");
            if attempt == 0 {
                say(&[&"refused"]);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err("no answer in a minute".into())
    }

    /// Returns what is said behind "ok".
    async fn obey(&mut self, words: &[&str]) -> Result<String> {
        match *words {
            ["use", keyspace] => self.session.use_keyspace(keyspace, false).await?,
            ["cql", text] => self.query(text, ()).await?,
            ["read", table, k] => drop(self.pages(table, k.parse()?, 5000).await?),
            ["page", table, k, size] => {
                return Ok(format!(
                    "pages={}",
                    self.pages(table, k.parse()?, size.parse()?).await?
                ));
            }
            ["types", table, k] => self.types(table, k.parse()?).await?,
            ["await", table] => self.wait(table).await?,
            [way, table, k, first, last] => {
                self.write(way, table, k.parse()?, first.parse()?, last.parse()?)
                    .await?
            }
            _ => return Err(format!("unknown: {words:?}").into()),
        }
        Ok(String::new())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut application: Option<Application> = None;
    let mut commands = BufReader::new(stdin()).lines();
    while let Some(line) = commands.next_line().await? {
        let words: Vec<&str> = line.split('\t').collect();
        let said = match (&mut application, words.as_slice()) {
            (_, ["quit"]) => break,
            (Some(application), words) => application.obey(words).await,
            (None, _) => open(&arguments).await.map(|session| {
                application = Some(Application {
                    session,
                    prepared: HashMap::new(),
                });
                format!("driver={}\tprotocol=4", driver_version())
            }),
        };
        match said {
            Ok(said) if said.is_empty() => say(&[&"ok"]),
            Ok(said) => say(&[&"ok", &said]),
            Err(error) => say(&[&"failed", &format!("{error:?}").replace('\n', " ")]),
        }
    }
    drop(application);
    say(&[&"ok"]);
    Ok(())
}
