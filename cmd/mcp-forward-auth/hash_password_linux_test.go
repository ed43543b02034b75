package main

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal: what a person has, and the program's end of it.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// shows reports whether the terminal shows what is typed.
func shows(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// At the prompt Ctrl-C was ignored, and a terminal that was closed some other way
// stayed silent.
func TestPromptEndsWithASignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT} {
		_, program := terminal(t)
		done := make(chan error, 1)
		go func() {
			_, err := readHidden(t.Context(), int(program.Fd()))
			done <- err
		}()
		for end := time.Now().Add(20 * time.Second); shows(t, program); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the terminal goes on showing what is typed")
			}
		}
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err == nil || !shows(t, program) {
				t.Errorf("%v: error %v, the terminal shows what is typed: %v", sig, err, shows(t, program))
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%v does not end the prompt", sig)
		}
	}
}

// What is typed at a terminal is the password, and the terminal does not show it.
func TestPromptReadsATerminal(t *testing.T) {
	person, program := terminal(t)
	if _, err := person.WriteString("a secret\n"); err != nil {
		t.Fatal(err)
	}
	typed, err := readHidden(t.Context(), int(program.Fd()))
	if err != nil || string(typed) != "a secret" || !shows(t, program) {
		t.Errorf("%q, %v", typed, err)
	}
}
