// cassandra-driver for Node: see programs.py for what it is told.
import { createInterface } from 'node:readline'
import cassandra from 'cassandra-driver'
import manifest from 'cassandra-driver/package.json' with { type: 'json' }

const { auth, policies, types } = cassandra
const [host, port, dataCenter, version, compression, user, password] = process.argv.slice(2)
if (compression !== 'none') throw new Error('this driver does not compress')

const client = new cassandra.Client({
  contactPoints: [`${host}:${port}`],
  localDataCenter: dataCenter,
  authProvider: user ? new auth.PlainTextAuthProvider(user, password) : undefined,
  protocolOptions: Number(version) ? { maxVersion: Number(version) } : {},
  policies: { reconnection: new policies.reconnection.ConstantReconnectionPolicy(500) },
  socketOptions: { readTimeout: 30000, connectTimeout: 15000 },
})
client.on('log', (level, name, message) => {
  if (level !== 'verbose') process.stderr.write(`${level} ${name} ${message}\n`)
})

const say = (...words) => process.stdout.write(`${words.join('\t')}\n`)
const rowHints = ['int', 'int', 'text']
const insert = (table) => `INSERT INTO ${table} (k, c, v) VALUES (?, ?, ?)`
const inserted = (table, k, c, value) => `INSERT INTO ${table} (k, c, v) VALUES (${k}, ${c}, '${value}')`
const select = (table) => `SELECT k, c, v FROM ${table} WHERE k = ?`

// one row each; `many` and batches take all of them
const ways = {
  text: (table, k, c, value) => client.execute(inserted(table, k, c, value)),
  values: (table, k, c, value) => client.execute(insert(table), [k, c, value], { hints: rowHints }),
  named: (table, k, c, value) =>
    client.execute(
      `INSERT INTO ${table} (k, c, v) VALUES (:k, :c, :v)`,
      { v: value, c, k },
      { hints: { v: 'text', c: 'int', k: 'int' } },
    ),
  bound: (table, k, c, value) => client.execute(insert(table), [k, c, value], { prepare: true }),
  'bound-named': (table, k, c, value) =>
    client.execute(`INSERT INTO ${table} (k, c, v) VALUES (:k, :c, :v)`, { v: value, c, k }, { prepare: true }),
  condition: async (table, k, c, value) => {
    for (let time = 0; time < 2; time++) {
      const result = await client.execute(`${insert(table)} IF NOT EXISTS`, [k, c, value], { prepare: true })
      say('row', c, result.wasApplied())
    }
  },
  counter: (table, k, c) =>
    client.execute(`UPDATE ${table} SET n = n + ? WHERE k = ?`, [types.Long.fromNumber(c), k], { prepare: true }),
}

// a batch is prepared as a whole, or not at all
const batch = (table, k, rows, options) =>
  client.batch(
    rows.map(([c, value]) =>
      c % 2 ? { query: inserted(table, k, c, value), params: [] } : { query: insert(table), params: [k, c, value] },
    ),
    options,
  )

async function write(way, table, k, first, last) {
  const rows = Array.from({ length: last - first + 1 }, (_, i) => [first + i, `${way} ${first + i} é`])
  if (way === 'many') {
    await Promise.all(rows.map(([c, value]) => ways.bound(table, k, c, value)))
  } else if (way === 'logged') {
    await batch(table, k, rows, { prepare: true, logged: true })
  } else if (way === 'unlogged') {
    await batch(table, k, rows, { logged: false, hints: rows.map(([c]) => (c % 2 ? [] : rowHints)) })
  } else {
    for (const [c, value] of rows) await ways[way](table, k, c, value)
  }
  if (way === 'counter') {
    const added = { query: `UPDATE ${table} SET n = n + ? WHERE k = ?`, params: [types.Long.fromNumber(100), k] }
    const text = { query: `UPDATE ${table} SET n = n + 1000 WHERE k = ${k + 1}`, params: [] }
    await client.batch([added, text], { prepare: true, counter: true })
  }
}

async function several(table, k) {
  const columns = 'big, real, raw, id, at, ints, names, nothing'
  const values = [
    k, types.Long.fromString('-4611686018427387904'), 2.5, Buffer.from([0, 255, 16]),
    types.Uuid.fromString('00112233-4455-6677-8899-aabbccddeeff'), new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678)),
    [3, 1, 2], { a: 1, b: 2 }, null,
  ]
  const places = values.map(() => '?').join(', ')
  await client.execute(`INSERT INTO ${table} (k, ${columns}) VALUES (${places})`, values, { prepare: true })
  const result = await client.execute(`SELECT ${columns} FROM ${table} WHERE k = ?`, [k], { prepare: true })
  for (const { big, real, raw, id, at, ints, names, nothing } of result.rows) {
    const pairs = Object.entries(names).map(([name, number]) => `${name}=${number}`)
    say('row', big, real, raw.toString('hex'), id, at.getTime(), ints.join(','), pairs.join(","), `${nothing}`)
  }
}

// shows the rows and returns how many pages there were
async function pages(table, k, size) {
  let pageState
  for (let count = 1; ; count++) {
    const result = await client.execute(select(table), [k], { prepare: true, fetchSize: size, pageState })
    for (const row of result.rows) say('row', row.k, row.c, row.v)
    pageState = result.pageState
    if (!pageState) return count
  }
}

async function wait(table) {
  for (let attempt = 0; attempt < 600; attempt++) {
    try {
      await client.execute(select(table), [0], { prepare: true })
      return
    } catch (error) {
      process.stderr.write(`${error}\n`)
      if (attempt === 0) say('refused')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  throw new Error('no answer in a minute')
}

// each returns the words behind "ok"
const commands = {
  connect: async () => {
    await client.connect()
    return [`driver=${manifest.version}`, `protocol=${client.controlConnection.protocolVersion}`]
  },
  use: async (keyspace) => void (await client.execute(`USE ${keyspace}`)),
  cql: async (text) => void (await client.execute(text)),
  types: (table, k) => several(table, Number(k)),
  read: async (table, k) => void (await pages(table, Number(k), 5000)),
  page: async (table, k, size) => [`pages=${await pages(table, Number(k), Number(size))}`],
  await: (table) => wait(table),
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...words] = line.split('\t')
  if (command === 'quit') break
  try {
    const [table, ...numbers] = words
    const said = await (commands[command]?.(...words) ?? write(command, table, ...numbers.map(Number)))
    say('ok', ...(said ?? []))
  } catch (error) {
    process.stderr.write(`${command}: ${error.stack}\n`)
    say('failed', String(error).replaceAll('\n', ' '))
  }
}
await client.shutdown()
say('ok')
process.exit(0)
