package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"
)

func hashPasswordCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "hash-password",
		Short: "Hash a password for the users of a static provider",
		Long: `Read a password and print its hash, for users of a provider with name "static".
On a terminal it asks twice and shows nothing of what is typed; else it reads
one line of standard input.

Exit codes: 0 with a hash, 1 if there is no password or it is too long, 2 if
called wrongly.`,
		Example: "  mcp-forward-auth hash-password\n  printf %s \"$PASSWORD\" | mcp-forward-auth hash-password --argon2id",
		Args:    noArguments,
	}
	argon := c.Flags().Bool("argon2id", false, "an argon2id hash, of 19 MiB and two passes, instead of a bcrypt one")
	c.RunE = func(c *cobra.Command, _ []string) error {
		password, err := readPassword(c)
		if err != nil {
			return fmt.Errorf("hash-password: %w", err)
		}
		hash := argon2id
		if !*argon {
			hash = func(password string) (string, error) {
				b, err := bcrypt.GenerateFromPassword([]byte(password), 12)
				return string(b), err
			}
		}
		line, err := hash(password)
		if err != nil {
			return fmt.Errorf("hash-password: %w", err)
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), line)
		return err
	}
	return c
}

const maxPassword = 1 << 10 // bytes

// readPassword asks for a password where standard input is a terminal, without
// showing it, and reads a line of it elsewhere.
func readPassword(c *cobra.Command) (string, error) {
	if f, ok := c.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return promptTwice(c.ErrOrStderr(), func() ([]byte, error) { return readHidden(c.Context(), int(f.Fd())) })
	}
	line, err := bufio.NewReader(io.LimitReader(c.InOrStdin(), maxPassword)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return "", errors.New(`no password on standard input; try  printf %s 'secret' | mcp-forward-auth hash-password`)
	}
	return password, nil
}

// readHidden reads a line from the terminal fd, which does not show it. A signal
// ends it, and the terminal shows again what is typed.
func readHidden(ctx context.Context, fd int) ([]byte, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	type answer struct {
		typed []byte
		err   error
	}
	got := make(chan answer, 1)
	go func() {
		typed, err := term.ReadPassword(fd)
		got <- answer{typed, err}
	}()
	select {
	case a := <-got:
		return a.typed, a.err
	case <-ctx.Done(): // the goroutine ends with the program
		return nil, errors.Join(errors.New("interrupted"), term.Restore(fd, before))
	}
}

// promptTwice has a person type a password until it comes out the same twice, three
// times at most.
func promptTwice(w io.Writer, read func() ([]byte, error)) (string, error) {
	ask := func(prompt string) (string, error) {
		fmt.Fprint(w, prompt)
		typed, err := read()
		fmt.Fprintln(w) // the person's own was not shown
		return string(typed), err
	}
	for range 3 {
		first, err := ask("Password: ")
		if err != nil {
			return "", err
		}
		if first == "" {
			fmt.Fprintln(w, "It is empty.")
			continue
		}
		again, err := ask("Once more: ")
		if err != nil {
			return "", err
		}
		if again == first {
			return first, nil
		}
		fmt.Fprintln(w, "These were two different ones.")
	}
	return "", errors.New("no password was typed the same twice")
}

// argon2id returns a hash in the PHC string format, with the parameters of
// OWASP's password storage cheat sheet.
func argon2id(password string) (string, error) {
	const memory, passes, threads, size = 19456, 2, 1, 32
	salt := make([]byte, 16)
	rand.Read(salt)
	b64 := base64.RawStdEncoding.EncodeToString
	sum := argon2.IDKey([]byte(password), salt, passes, memory, threads, size)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, passes, threads, b64(salt), b64(sum)), nil
}
