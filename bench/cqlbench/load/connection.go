package main

import (
	"bufio"
	"bytes"
	"log"
	"math"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// slot is one stream id of a connection.
type slot struct {
	begun   time.Time
	request *request // nil: nothing in flight
}

// connection sends what it draws and checks the answers. What it counted may be read once `run` has returned.
type connection struct {
	net.Conn
	reader     *bufio.Reader
	writer     *bufio.Writer
	made       func(int) *request
	slots      []slot
	free       chan int
	total      atomic.Int64 // requests to be answered; known once the last is drawn
	latencies  []time.Duration
	wrong      int
	written    int
	sum        uint64
	writtenSum uint64
}

func connect(address, mode string, depth, size int, row []byte) *connection {
	c, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	made := &connection{Conn: c, reader: bufio.NewReaderSize(c, 65536), writer: bufio.NewWriterSize(c, 65536)}
	startup(c, made.reader)
	made.made = workload(mode, c, made.reader, size, row)
	made.slots, made.free = make([]slot, depth), make(chan int, depth)
	for i := range made.slots {
		made.free <- i
	}
	made.total.Store(math.MaxInt64)
	return made
}

// run sends requests until there are no more to draw, and returns when all are answered.
func (c *connection) run(draw func() (int, bool), gap time.Duration) {
	number, more := draw()
	if !more {
		return
	}
	go c.send(number, draw, gap)
	body := make([]byte, 65536)
	for received := int64(0); received < c.total.Load(); received++ {
		opcode, stream, answer, err := readFrame(c.reader, body)
		if err != nil {
			log.Fatal("read: ", err)
		}
		c.receive(opcode, int(stream), answer)
	}
	c.Close()
}

func (c *connection) receive(opcode byte, stream int, answer []byte) {
	if stream >= len(c.slots) || c.slots[stream].request == nil {
		log.Fatalf("an answer on stream %d, where nothing was asked", stream)
	}
	asked := c.slots[stream]
	c.latencies = append(c.latencies, time.Since(asked.begun))
	if opcode != 8 || asked.request.answer != nil && !bytes.Equal(answer, asked.request.answer) {
		if c.wrong++; c.wrong == 1 {
			log.Printf("a wrong answer of opcode %d: %.200q", opcode, answer)
		}
	}
	c.slots[stream].request = nil
	c.free <- stream
}

// send paces the requests where there is a gap. A request counts from when it was due, but not from before its sender
// woke up: that the load overslept is no fault of a proxy, that it waited for a free stream is.
func (c *connection) send(number int, draw func() (int, bool), gap time.Duration) {
	due := time.Now()
	var woken time.Time
	if gap > 0 {
		finerTimers()
	}
	for sent, more := int64(1), true; more; sent++ {
		var next int
		if next, more = draw(); !more {
			c.total.Store(sent)
		}
		if gap > 0 {
			due = due.Add(gap)
			if wait := time.Until(due); wait > 0 {
				c.writer.Flush()
				pause := syscall.NsecToTimespec(wait.Nanoseconds())
				syscall.Nanosleep(&pause, nil)
				woken = time.Now()
			}
		}
		c.put(number, due, woken, gap > 0)
		number = next
	}
	c.writer.Flush()
}

func (c *connection) put(number int, due, woken time.Time, paced bool) {
	var stream int
	select {
	case stream = <-c.free:
	default:
		c.writer.Flush()
		stream = <-c.free
	}
	asked := c.made(number)
	c.sum += asked.sum
	if asked.isWrite {
		c.written++
		c.writtenSum += asked.sum
	}
	begun := due
	if !paced {
		begun = time.Now()
	} else if woken.After(due) {
		begun = woken
	}
	c.slots[stream] = slot{begun, asked}
	c.writer.Write(frame(asked.opcode, uint16(stream), asked.body))
}

// finerTimers lets this goroutine sleep for less than the kernel's usual 50 us, on a thread of its own.
func finerTimers() {
	runtime.LockOSThread()
	const setTimerSlack = 29
	syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, 1, 0)
}
