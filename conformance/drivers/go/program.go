// gocql: see programs.py for what it is told.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/apache/cassandra-gocql-driver/v2/lz4"
	"github.com/apache/cassandra-gocql-driver/v2/snappy"
)

const flagCompressed = 1

func say(words ...any) {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = fmt.Sprint(word)
	}
	fmt.Println(strings.Join(texts, "\t"))
}

// seen is what the last answer on the wire looked like: the only place where the driver tells what it agreed on.
type seen struct {
	version    atomic.Int64
	compressed atomic.Bool
}

func (s *seen) ObserveFrameHeader(_ context.Context, header gocql.ObservedFrameHeader) {
	version, _ := strconv.ParseInt(fmt.Sprintf("%d", header.Version), 10, 64)
	s.version.Store(version & 0x7f)
	if header.Flags&flagCompressed != 0 {
		s.compressed.Store(true)
	}
}

type application struct {
	cluster *gocql.ClusterConfig
	session *gocql.Session
	seen    *seen
}

func newApplication(arguments []string) *application {
	host, compression := arguments[0], arguments[4]
	cluster := gocql.NewCluster(host)
	cluster.Port, _ = strconv.Atoi(arguments[1])
	cluster.ProtoVersion, _ = strconv.Atoi(arguments[3])
	cluster.Consistency = gocql.One
	cluster.Timeout = 30 * time.Second
	cluster.ConnectTimeout = 15 * time.Second
	cluster.ReconnectInterval = 500 * time.Millisecond
	cluster.Logger = gocql.NewLogger(gocql.LogLevelInfo)
	switch compression {
	case "lz4":
		cluster.Compressor = lz4.LZ4Compressor{}
	case "snappy":
		cluster.Compressor = &snappy.SnappyCompressor{}
	}
	if len(arguments) > 5 {
		cluster.Authenticator = gocql.PasswordAuthenticator{Username: arguments[5], Password: arguments[6]}
	}
	seen := &seen{}
	cluster.FrameHeaderObserver = seen
	return &application{cluster: cluster, seen: seen}
}

// open takes the place of USE, which gocql refuses to send: a session has one keyspace.
func (a *application) open(keyspace string) error {
	a.close()
	a.cluster.Keyspace = keyspace
	session, err := a.cluster.CreateSession()
	a.session = session
	return err
}

func (a *application) close() {
	if a.session != nil {
		a.session.Close()
		a.session = nil
	}
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if strings.Contains(module.Path, "gocql") {
			return module.Version
		}
	}
	return "?"
}

func (a *application) connect() error {
	if err := a.open(""); err != nil {
		return err
	}
	say("ok", "driver="+version(), fmt.Sprintf("protocol=%d", a.seen.version.Load()))
	return nil
}

func insert(table string) string {
	return "INSERT INTO " + table + " (k, c, v) VALUES (?, ?, ?)"
}

// write has the driver prepare whatever is a row: gocql has no other way.
func (a *application) write(way, table string, k, first, last int) error {
	if way == "logged" || way == "unlogged" {
		return a.batch(way, table, k, first, last)
	}
	if way == "many" {
		return a.many(table, k, first, last)
	}
	for c := first; c <= last; c++ {
		value := fmt.Sprintf("%s %d é", way, c)
		var err error
		switch way {
		case "text":
			err = a.session.Query(fmt.Sprintf("INSERT INTO %s (k, c, v) VALUES (%d, %d, '%s')", table, k, c, value)).Exec()
		case "bound":
			err = a.session.Query(insert(table), k, c, value).Exec()
		case "bound-named":
			text := "INSERT INTO " + table + " (k, c, v) VALUES (:k, :c, :v)"
			// the two numbers in the wrong order, and only the names tell
			err = a.session.Query(text, gocql.NamedValue("c", c), gocql.NamedValue("k", k), gocql.NamedValue("v", value)).Exec()
		case "condition":
			err = a.condition(table, k, c, value)
		case "counter":
			err = a.session.Query("UPDATE "+table+" SET n = n + ? WHERE k = ?", int64(c), k).Exec()
		default:
			err = fmt.Errorf("gocql has no way %s", way)
		}
		if err != nil {
			return err
		}
	}
	if way == "counter" {
		batch := a.session.Batch(gocql.CounterBatch)
		batch.Query("UPDATE "+table+" SET n = n + ? WHERE k = ?", int64(100), k)
		batch.Query(fmt.Sprintf("UPDATE %s SET n = n + 1000 WHERE k = %d", table, k+1))
		return batch.Exec()
	}
	return nil
}

func (a *application) batch(way, table string, k, first, last int) error {
	kind := gocql.LoggedBatch
	if way == "unlogged" {
		kind = gocql.UnloggedBatch
	}
	batch := a.session.Batch(kind)
	for c := first; c <= last; c++ {
		if c%2 == 1 {
			batch.Query(fmt.Sprintf("INSERT INTO %s (k, c, v) VALUES (%d, %d, '%s %d é')", table, k, c, way, c))
		} else {
			batch.Query(insert(table), k, c, fmt.Sprintf("%s %d é", way, c))
		}
	}
	return batch.Exec()
}

func (a *application) many(table string, k, first, last int) error {
	failures := make(chan error, last-first+1)
	var all sync.WaitGroup
	for c := first; c <= last; c++ {
		all.Add(1)
		go func() {
			defer all.Done()
			failures <- a.session.Query(insert(table), k, c, fmt.Sprintf("many %d é", c)).Exec()
		}()
	}
	all.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *application) condition(table string, k, c int, value string) error {
	for range 2 {
		applied, err := a.session.Query(insert(table)+" IF NOT EXISTS", k, c, value).MapScanCAS(map[string]any{})
		if err != nil {
			return err
		}
		say("row", c, applied)
	}
	return nil
}

func (a *application) types(table string, k int) error {
	id, _ := gocql.ParseUUID("00112233-4455-6677-8899-aabbccddeeff")
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	const columns = "big, real, raw, id, at, ints, names, nothing"
	text := "INSERT INTO " + table + " (k, " + columns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
	err := a.session.Query(text, k, int64(math.MinInt64/2), 2.5, []byte{0, 255, 16}, id, at, []int{3, 1, 2},
		map[string]int{"a": 1, "b": 2}, nil).Exec()
	if err != nil {
		return err
	}
	var big int64
	var real float64
	var raw []byte
	var ints []int
	var names map[string]int
	var nothing *string
	err = a.session.Query("SELECT "+columns+" FROM "+table+" WHERE k = ?", k).
		Scan(&big, &real, &raw, &id, &at, &ints, &names, &nothing)
	if err != nil {
		return err
	}
	said := "null"
	if nothing != nil {
		said = *nothing
	}
	say("row", big, real, hex.EncodeToString(raw), id, at.UnixMilli(), list(ints), pairs(names), said)
	return nil
}

func list(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, number := range numbers {
		texts[i] = strconv.Itoa(number)
	}
	return strings.Join(texts, ",")
}

func pairs(names map[string]int) string {
	var texts []string
	for name, number := range names {
		texts = append(texts, fmt.Sprintf("%s=%d", name, number))
	}
	sort.Strings(texts)
	return strings.Join(texts, ",")
}

func (a *application) selection(table string, k int) *gocql.Query {
	return a.session.Query("SELECT k, c, v FROM "+table+" WHERE k = ?", k)
}

// pages shows the rows, asking for each page by the state of the one before, and returns how many there were.
func (a *application) pages(table string, k, size int) (int, error) {
	var state []byte
	for pages := 1; ; pages++ {
		iter := a.selection(table, k).PageSize(size).PageState(state).Iter()
		state = iter.PageState()
		var k, c int
		var v string
		for rows := iter.NumRows(); rows > 0 && iter.Scan(&k, &c, &v); rows-- {
			say("row", k, c, v)
		}
		if err := iter.Close(); err != nil {
			return pages, err
		}
		if len(state) == 0 {
			return pages, nil
		}
	}
}

// wait asks until there is an answer.
func (a *application) wait(table string) error {
	for attempt := range 600 {
		err := a.selection(table, 0).Iter().Close()
		if err == nil {
			return nil
		}
		fmt.Fprintln(os.Stderr, err)
		if attempt == 0 {
			say("refused")
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("no answer in a minute")
}

func (a *application) obey(command string, words []string) error {
	numbers := make([]int, len(words))
	for i, word := range words {
		numbers[i], _ = strconv.Atoi(word)
	}
	var err error
	switch command {
	case "connect":
		return a.connect()
	case "use":
		err = a.open(words[0])
	case "cql":
		err = a.session.Query(words[0]).Exec()
	case "types":
		err = a.types(words[0], numbers[1])
	case "read":
		_, err = a.pages(words[0], numbers[1], 5000)
	case "page":
		var pages int
		if pages, err = a.pages(words[0], numbers[1], numbers[2]); err == nil {
			say("ok", fmt.Sprintf("pages=%d", pages))
			return nil
		}
	case "await":
		err = a.wait(words[0])
	default:
		err = a.write(command, words[0], numbers[1], numbers[2], numbers[3])
	}
	if err == nil {
		say("ok")
	}
	return err
}

func main() {
	application := newApplication(os.Args[1:])
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		words := strings.Split(commands.Text(), "\t")
		if words[0] == "quit" {
			break
		}
		if err := application.obey(words[0], words[1:]); err != nil {
			say("failed", strings.ReplaceAll(err.Error(), "\n", " "))
		}
	}
	application.close()
	say("ok")
}
