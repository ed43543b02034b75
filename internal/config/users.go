package config

import (
	"net/mail"
	"regexp"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"golang.org/x/crypto/bcrypt"
)

// usersDocument is the content of provider.usersFile.
type usersDocument struct {
	Users []UserFile `json:"users"`
}

// MaxUsersFileBytes bounds the content of a users file.
const MaxUsersFileBytes = conf.MaxFileBytes

// ParseUsers reads the content of a users file. The error is an Errors.
func ParseUsers(data []byte) ([]connector.User, error) {
	if len(data) > MaxUsersFileBytes {
		return nil, conf.Errors{{Problem: "the file is larger than 1 MiB"}}
	}
	r := &resolver{Check: &conf.Check{}}
	var file usersDocument
	r.Decode(data, &file)
	users := r.users("users", file.Users)
	return users, r.Err()
}

// accounts resolves the accounts of the static provider: in the configuration,
// or in a file of their own that is read again when it changes.
func (r *providerResolver) accounts(f ProviderFile) (users []connector.User, file string) {
	at, fileAt := r.key("users"), r.key("usersFile")
	switch {
	case f.Name != "static":
		return nil, ""
	case f.UsersFile == "":
		return r.users(at, f.Users), ""
	case len(f.Users) > 0:
		r.Add(fileAt, "excludes users; set one of the two")
		return nil, ""
	}
	content, ok := r.SecretFile(fileAt, f.UsersFile)
	if !ok {
		return nil, ""
	}
	users, err := ParseUsers([]byte(content))
	if list, isList := err.(conf.Errors); isList {
		for _, m := range list {
			r.Add(fileAt, "in the file: %s", m)
		}
	}
	return users, f.UsersFile
}

func (r *resolver) users(at string, files []UserFile) []connector.User {
	if len(files) == 0 {
		r.Add(at, `is required for "static": at least one user`)
		return nil
	}
	if r.TooMany(at, len(files), maxUsers) {
		return nil
	}
	var users []connector.User
	seen := make(map[string]int)
	for i, u := range files {
		here := conf.Element(at, i)
		first, taken := seen[u.Username]
		if taken && u.Username != "" {
			r.Add(here+".username", "%s is the name of %s too", conf.Show(u.Username), conf.Element(at, first))
		} else {
			seen[u.Username] = i
		}
		users = append(users, r.user(here, u))
	}
	return users
}

func (r *resolver) user(at string, f UserFile) connector.User {
	if f.Username == "" {
		r.Add(at+".username", "is required")
	}
	r.Text(at+".username", f.Username)
	if problem := hashProblem(f.PasswordHash); problem != "" {
		r.Add(at+".passwordHash", "%s", problem)
	}
	if f.Email != "" {
		address, err := mail.ParseAddress(f.Email)
		if err != nil || address.Address != f.Email || len(f.Email) > conf.MaxText {
			r.Add(at+".email", `%s is not an e-mail address such as "jane@example.com"`, conf.Show(f.Email))
		}
	}
	r.Text(at+".name", f.Name)
	r.groups(at+".groups", f.Groups)
	return connector.User{Username: f.Username, PasswordHash: conf.NewSecret(f.PasswordHash), Email: f.Email, Name: f.Name, Groups: f.Groups}
}

var bcryptHash = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// hashProblem says what is wrong with a hash, never showing it: it may be the
// password itself.
func hashProblem(hash string) string {
	if hash == "" {
		return "is required"
	}
	if strings.HasPrefix(hash, "$argon2") {
		_, problem := connector.ParseArgon2id(hash)
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
