//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// tap stands between one replica and the Redis server of its guard. It passes everything
// on, and notes what the replica wrote: so that a test knows what reached the guard, also
// of a replica that is gone.
type tap struct {
	address string

	mu     sync.Mutex
	writes map[string][]guardWrite // by key
}

// guardWrite is a value with which the server replaced another.
type guardWrite struct {
	value      string
	sent, done time.Time // when the tap passed on the command, and had the server's answer
}

// tapped starts a tap before the server at address.
func tapped(t *testing.T, address string) *tap {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	p := &tap{address: listener.Addr().String(), writes: map[string][]guardWrite{}}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client, address)
		}
	}()
	return p
}

// command is one that has no answer yet. key is "" unless it may write.
type command struct {
	key, value string
	sent       time.Time
}

func (p *tap) serve(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	pending := make(chan command, 1024) // in the order of their answers
	go func() {
		defer close(pending)
		defer server.(*net.TCPConn).CloseWrite() // what was sent is carried out, and answered
		var raw bytes.Buffer
		for in := bufio.NewReader(io.TeeReader(client, &raw)); ; {
			words, err := readCommand(in)
			if err != nil {
				return
			}
			passed := raw.Next(raw.Len() - in.Buffered())
			pending <- asWrite(words)
			if _, err := server.Write(passed); err != nil {
				return
			}
		}
	}()
	var raw bytes.Buffer
	for in, gone := bufio.NewReader(io.TeeReader(server, &raw)), false; ; {
		answer, push, err := readAnswer(in)
		if err != nil {
			return
		}
		passed := raw.Next(raw.Len() - in.Buffered())
		if !push {
			p.note(<-pending, answer)
		}
		if _, err := client.Write(passed); err != nil && !gone {
			gone = true // the replica is; the rest of the answers count all the same
		}
	}
}

// asWrite reads the guard's script that swaps a value: eval SCRIPT 1 KEY OLD NEW TTL.
func asWrite(words []string) (c command) {
	if len(words) == 7 && strings.EqualFold(words[0], "eval") {
		c = command{key: words[3], value: words[5], sent: time.Now()}
	}
	return c
}

func (p *tap) note(c command, answer string) {
	if c.key == "" || answer != ":1" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes[c.key] = append(p.writes[c.key], guardWrite{c.value, c.sent, time.Now()})
}

// tapPrefix is the keyPrefix of replicas behind taps.
const tapPrefix = "tapped:"

// tapKey is the key of guard.Shared for this kind and id.
func tapKey(kind, id string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + id))
	return tapPrefix + kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// written are the values that the replica put under the key for this kind and id, of those
// that were sent from then until then.
func (p *tap) written(kind, id string, from, to time.Time) (found []guardWrite) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.writes[tapKey(kind, id)] {
		if !w.sent.Before(from) && !w.sent.After(to) {
			found = append(found, w)
		}
	}
	return found
}

// readCommand reads an array of bulk strings, which is what clients send.
func readCommand(in *bufio.Reader) ([]string, error) {
	kind, n, _, err := readHead(in)
	if err != nil || kind != '*' {
		return nil, fmt.Errorf("not a command: %c %w", kind, err)
	}
	words := make([]string, n)
	for i := range words {
		word, _, err := readAnswer(in)
		if err != nil {
			return nil, err
		}
		words[i] = strings.TrimPrefix(word, "$")
	}
	return words, nil
}

// readAnswer reads one value of the protocol (RESP2 and 3). It returns scalars as the
// kind and the text; push says that no command is answered by it.
func readAnswer(in *bufio.Reader) (text string, push bool, err error) {
	kind, n, text, err := readHead(in)
	if err != nil {
		return "", false, err
	}
	switch {
	case slices.Contains([]byte("$=!"), kind):
		if n < 0 {
			return string(kind), false, nil
		}
		body := make([]byte, n+2)
		_, err := io.ReadFull(in, body)
		return string(kind) + string(body[:n]), false, err
	case slices.Contains([]byte("*~>%|"), kind):
		if kind == '%' || kind == '|' {
			n *= 2
		}
		for range max(n, 0) {
			if _, _, err := readAnswer(in); err != nil {
				return "", false, err
			}
		}
		if kind == '|' { // attributes stand before the value
			return readAnswer(in)
		}
		return string(kind), kind == '>', nil
	}
	return string(kind) + text, false, nil
}

func readHead(in *bufio.Reader) (kind byte, n int, text string, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, 0, "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return 0, 0, "", io.ErrUnexpectedEOF
	}
	n, _ = strconv.Atoi(line[1:])
	return line[0], n, line[1:], nil
}
