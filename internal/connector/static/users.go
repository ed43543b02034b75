package static

import (
	"net/mail"
	"regexp"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Bounds on the accounts.
const (
	minBcryptCost = 10
	maxBcryptCost = 15 // seconds per sign-in
)

// User is one entry of `provider.users`.
type User struct {
	// User name, unique; also the subject in tokens. Required.
	Username string `json:"username" check:"text"`
	// Hash of the password: bcrypt of cost 10 to 15, or argon2id in the PHC string format; `mcp-forward-auth hash-password` makes one. Required.
	PasswordHash conf.Secret `json:"passwordHash"`
	// E-mail address; it counts as verified.
	Email string `json:"email"`
	// Display name.
	Name string `json:"name" check:"text"`
	// Groups of the user.
	Groups []string `json:"groups" check:"groups"`
}

// usersDocument is the content of provider.usersFile.
type usersDocument struct {
	Users []User `json:"users" max:"1000"`
}

// MaxFileBytes bounds the content of a users file.
const MaxFileBytes = conf.MaxFileBytes

// ParseUsers reads the content of a users file. The error is an Errors.
func ParseUsers(data []byte) ([]User, error) {
	if len(data) > MaxFileBytes {
		return nil, conf.Errors{{Problem: "the file is larger than 1 MiB"}}
	}
	c := &conf.Check{}
	var file usersDocument
	c.Decode(data, &file)
	checkUsers(c, "users", file.Users)
	return file.Users, c.Err()
}

func checkUsers(c *conf.Check, at string, files []User) {
	if len(files) == 0 {
		c.Add(at, `is required for "static": at least one user`)
	}
	seen := make(map[string]int)
	for i, u := range files {
		here := conf.Element(at, i)
		first, taken := seen[u.Username]
		if taken && u.Username != "" {
			c.Add(here+".username", "%s is the name of %s too", conf.Show(u.Username), conf.Element(at, first))
		} else {
			seen[u.Username] = i
		}
		check(c, here, u)
	}
}

func check(c *conf.Check, at string, f User) {
	if f.Username == "" {
		c.Add(at+".username", "is required")
	}
	if problem := hashProblem(f.PasswordHash.Reveal()); problem != "" {
		c.Add(at+".passwordHash", "%s", problem)
	}
	if f.Email != "" {
		address, err := mail.ParseAddress(f.Email)
		if err != nil || address.Address != f.Email || len(f.Email) > conf.MaxText {
			c.Add(at+".email", `%s is not an e-mail address such as "jane@example.com"`, conf.Show(f.Email))
		}
	}
}

var bcryptHash = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// hashProblem says what is wrong with a hash, never showing it: it may be the
// password itself.
func hashProblem(hash string) string {
	if hash == "" {
		return "is required"
	}
	if strings.HasPrefix(hash, "$argon2") {
		_, problem := parseArgon2id(hash)
		return problem
	}
	cost, err := bcrypt.Cost([]byte(hash))
	switch {
	case err != nil || !bcryptHash.MatchString(hash):
		return "is neither a bcrypt nor an argon2id hash; `mcp-forward-auth hash-password` makes one"
	case cost < minBcryptCost:
		return "is a bcrypt hash of a cost below 10, which is guessed too fast"
	case cost > maxBcryptCost:
		return "is a bcrypt hash of a cost above 15, which takes seconds to check"
	}
	return ""
}
