import com.datastax.oss.driver.api.core.CqlSession;
import com.datastax.oss.driver.api.core.config.DefaultDriverOption;
import com.datastax.oss.driver.api.core.config.DriverConfigLoader;
import com.datastax.oss.driver.api.core.config.ProgrammaticDriverConfigLoaderBuilder;
import com.datastax.oss.driver.api.core.cql.AsyncResultSet;
import com.datastax.oss.driver.api.core.cql.BatchStatement;
import com.datastax.oss.driver.api.core.cql.BatchStatementBuilder;
import com.datastax.oss.driver.api.core.cql.BatchType;
import com.datastax.oss.driver.api.core.cql.BoundStatement;
import com.datastax.oss.driver.api.core.cql.PreparedStatement;
import com.datastax.oss.driver.api.core.cql.Row;
import com.datastax.oss.driver.api.core.cql.SimpleStatement;
import com.datastax.oss.driver.api.core.session.Session;
import com.datastax.oss.driver.internal.core.connection.ConstantReconnectionPolicy;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.CompletionStage;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Java driver 4: see programs.py for what it is told. */
public final class Program {
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private final String[] arguments;
    private final Map<String, PreparedStatement> prepared = new HashMap<>();
    private CqlSession session;

    private Program(String[] arguments) {
        this.arguments = arguments;
    }

    private static void say(Object... words) {
        OUT.println(Arrays.stream(words).map(String::valueOf).collect(Collectors.joining("\t")));
    }

    private String connect() {
        ProgrammaticDriverConfigLoaderBuilder options = DriverConfigLoader.programmaticBuilder()
                .withClass(DefaultDriverOption.RECONNECTION_POLICY_CLASS, ConstantReconnectionPolicy.class)
                .withDuration(DefaultDriverOption.RECONNECTION_BASE_DELAY, Duration.ofMillis(500))
                .withDuration(DefaultDriverOption.REQUEST_TIMEOUT, Duration.ofSeconds(30));
        for (DefaultDriverOption timeout : List.of(
                DefaultDriverOption.CONNECTION_CONNECT_TIMEOUT,
                DefaultDriverOption.CONNECTION_INIT_QUERY_TIMEOUT,
                DefaultDriverOption.CONNECTION_SET_KEYSPACE_TIMEOUT,
                DefaultDriverOption.CONTROL_CONNECTION_TIMEOUT,
                DefaultDriverOption.METADATA_SCHEMA_REQUEST_TIMEOUT)) {
            options = options.withDuration(timeout, Duration.ofSeconds(15));
        }
        if (!arguments[3].equals("0")) {
            options = options.withString(DefaultDriverOption.PROTOCOL_VERSION, "V" + arguments[3]);
        }
        options = options.withString(DefaultDriverOption.PROTOCOL_COMPRESSION, arguments[4]);
        var builder = CqlSession.builder()
                .addContactPoint(new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1])))
                .withLocalDatacenter(arguments[2])
                .withConfigLoader(options.build());
        if (arguments.length > 5) {
            builder = builder.withAuthCredentials(arguments[5], arguments[6]);
        }
        session = builder.build();
        return "driver=" + Session.OSS_DRIVER_COORDINATES.getVersion()
                + "\tprotocol=" + session.getContext().getProtocolVersion().getCode();
    }

    private PreparedStatement prepare(String text) {
        return prepared.computeIfAbsent(text, session::prepare);
    }

    private static String insert(String table) {
        return "INSERT INTO " + table + " (k, c, v) VALUES (?, ?, ?)";
    }

    private static String inserted(String table, int k, int c, String value) {
        return String.format("INSERT INTO %s (k, c, v) VALUES (%d, %d, '%s')", table, k, c, value);
    }

    private void write(String way, String table, int k, int first, int last) {
        switch (way) {
            case "many" -> IntStream.rangeClosed(first, last)
                    .mapToObj(c -> session.executeAsync(prepare(insert(table)).bind(k, c, value(way, c))))
                    .toList()
                    .forEach(Program::join);
            case "logged" -> batch(BatchType.LOGGED, way, table, k, first, last);
            case "unlogged" -> batch(BatchType.UNLOGGED, way, table, k, first, last);
            case "counter" -> count(table, k, first, last);
            default -> {
                for (int c = first; c <= last; c++) {
                    writeOne(way, table, k, c, value(way, c));
                }
            }
        }
    }

    private static String value(String way, int c) {
        return way + " " + c + " é";
    }

    private static <T> T join(CompletionStage<T> stage) {
        return stage.toCompletableFuture().join();
    }

    private void writeOne(String way, String table, int k, int c, String value) {
        String byName = "INSERT INTO " + table + " (k, c, v) VALUES (:k, :c, :v)";
        switch (way) {
            case "text" -> session.execute(inserted(table, k, c, value));
            case "values" -> session.execute(SimpleStatement.newInstance(insert(table), k, c, value));
            case "named" -> session.execute(SimpleStatement.newInstance(byName, Map.of("v", value, "c", c, "k", k)));
            case "bound" -> session.execute(prepare(insert(table)).bind(k, c, value));
            case "bound-named" -> session.execute(
                    prepare(byName).bind().setString("v", value).setInt("c", c).setInt("k", k));
            case "condition" -> {
                BoundStatement conditional = prepare(insert(table) + " IF NOT EXISTS").bind(k, c, value);
                say("row", c, session.execute(conditional).wasApplied());
                say("row", c, session.execute(conditional).wasApplied());
            }
            default -> throw new IllegalArgumentException("no way " + way);
        }
    }

    private void batch(BatchType kind, String way, String table, int k, int first, int last) {
        BatchStatementBuilder batch = BatchStatement.builder(kind);
        for (int c = first; c <= last; c++) {
            if (c % 2 == 1) {
                batch.addStatement(SimpleStatement.newInstance(inserted(table, k, c, value(way, c))));
            } else {
                batch.addStatement(prepare(insert(table)).bind(k, c, value(way, c)));
            }
        }
        session.execute(batch.build());
    }

    private void count(String table, int k, int first, int last) {
        PreparedStatement add = prepare("UPDATE " + table + " SET n = n + ? WHERE k = ?");
        for (int c = first; c <= last; c++) {
            session.execute(add.bind((long) c, k));
        }
        session.execute(BatchStatement.builder(BatchType.COUNTER)
                .addStatement(add.bind(100L, k))
                .addStatement(SimpleStatement.newInstance(
                        String.format("UPDATE %s SET n = n + 1000 WHERE k = %d", table, k + 1)))
                .build());
    }

    private void types(String table, int k) {
        String columns = "big, real, raw, id, at, ints, names, nothing";
        session.execute(prepare("INSERT INTO " + table + " (k, " + columns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
                .bind(
                        k,
                        Long.MIN_VALUE / 2,
                        2.5,
                        ByteBuffer.wrap(new byte[] {0, -1, 16}),
                        UUID.fromString("00112233-4455-6677-8899-aabbccddeeff"),
                        Instant.parse("2026-01-02T03:04:05.678Z"),
                        List.of(3, 1, 2),
                        Map.of("a", 1, "b", 2),
                        null));
        PreparedStatement select = prepare("SELECT " + columns + " FROM " + table + " WHERE k = ?");
        for (Row row : session.execute(select.bind(k))) {
            byte[] raw = new byte[row.getByteBuffer("raw").remaining()];
            row.getByteBuffer("raw").get(raw);
            String ints = row.getList("ints", Integer.class).stream()
                    .map(String::valueOf)
                    .collect(Collectors.joining(","));
            String names = new TreeMap<>(row.getMap("names", String.class, Integer.class)).entrySet().stream()
                    .map(String::valueOf)
                    .collect(Collectors.joining(","));
            say(
                    "row",
                    row.getLong("big"),
                    row.getDouble("real"),
                    HexFormat.of().formatHex(raw),
                    row.getUuid("id"),
                    row.getInstant("at").toEpochMilli(),
                    ints,
                    names,
                    row.getString("nothing"));
        }
    }

    private BoundStatement select(String table, int k) {
        return prepare("SELECT k, c, v FROM " + table + " WHERE k = ?").bind(k);
    }

    /** Shows the rows, and returns how many pages there were. */
    private int pages(String table, int k, int size) {
        AsyncResultSet page = join(session.executeAsync(select(table, k).setPageSize(size)));
        for (int pages = 1; ; pages++) {
            for (Row row : page.currentPage()) {
                say("row", row.getInt("k"), row.getInt("c"), row.getString("v"));
            }
            if (!page.hasMorePages()) {
                return pages;
            }
            page = join(page.fetchNextPage());
        }
    }

    private void await(String table) throws InterruptedException {
        for (int attempt = 0; attempt < 600; attempt++) {
            try {
                session.execute(select(table, 0));
                return;
            } catch (RuntimeException error) {
                System.err.println(error);
                if (attempt == 0) {
                    say("refused");
                }
                Thread.sleep(100);
            }
        }
        throw new IllegalStateException("no answer in a minute");
    }

    /** Returns what is said behind "ok". */
    private String obey(String[] words) throws InterruptedException {
        switch (words[0]) {
            case "connect" -> {
                return connect();
            }
            case "page" -> {
                return "pages=" + pages(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]));
            }
            case "use" -> session.execute("USE " + words[1]);
            case "cql" -> session.execute(words[1]);
            case "read" -> pages(words[1], Integer.parseInt(words[2]), 5000);
            case "types" -> types(words[1], Integer.parseInt(words[2]));
            case "await" -> await(words[1]);
            default -> write(
                    words[0],
                    words[1],
                    Integer.parseInt(words[2]),
                    Integer.parseInt(words[3]),
                    Integer.parseInt(words[4]));
        }
        return "";
    }

    public static void main(String[] arguments) throws Exception {
        Program program = new Program(arguments);
        var commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null && !line.equals("quit"); line = commands.readLine()) {
            try {
                String said = program.obey(line.split("\t"));
                OUT.println(said.isEmpty() ? "ok" : "ok\t" + said);
            } catch (RuntimeException error) {
                error.printStackTrace();
                say("failed", error.toString().replace("\n", " "));
            }
        }
        program.session.close();
        say("ok");
    }
}
