package config

import (
	"encoding/base64"
	"net/mail"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// usersDocument is the content of provider.usersFile.
type usersDocument struct {
	Users []UserFile `json:"users"`
}

// MaxUsersFileBytes bounds the content of a users file.
const MaxUsersFileBytes = maxFileBytes

// ParseUsers reads the content of a users file. The error is an Errors.
func ParseUsers(data []byte) ([]User, error) {
	if len(data) > MaxUsersFileBytes {
		return nil, Errors{{Problem: "the file is larger than 1 MiB"}}
	}
	r := &resolver{}
	var file usersDocument
	decodeDocument(data, reflect.ValueOf(&file).Elem(), &r.mistakes)
	users := r.users("users", file.Users)
	return users, r.err()
}

// accounts resolves the accounts of the static provider: in the configuration,
// or in a file of their own that is read again when it changes.
func (r *providerResolver) accounts(f ProviderFile) (users []User, file string) {
	at, fileAt := r.key("users"), r.key("usersFile")
	switch {
	case f.Name != "static":
		return nil, ""
	case f.UsersFile == "":
		return r.users(at, f.Users), ""
	case len(f.Users) > 0:
		r.add(fileAt, "excludes users; set one of the two")
		return nil, ""
	}
	content, ok := r.secretFile(fileAt, f.UsersFile)
	if !ok {
		return nil, ""
	}
	users, err := ParseUsers([]byte(content))
	if list, isList := err.(Errors); isList {
		for _, m := range list {
			r.add(fileAt, "in the file: %s", m)
		}
	}
	return users, f.UsersFile
}

func (r *resolver) users(at string, files []UserFile) []User {
	if len(files) == 0 {
		r.add(at, `is required for "static": at least one user`)
		return nil
	}
	if r.tooMany(at, len(files), maxUsers) {
		return nil
	}
	var users []User
	seen := make(map[string]int)
	for i, u := range files {
		here := element(at, i)
		first, taken := seen[u.Username]
		if taken && u.Username != "" {
			r.add(here+".username", "%s is the name of %s too", show(u.Username), element(at, first))
		} else {
			seen[u.Username] = i
		}
		users = append(users, r.user(here, u))
	}
	return users
}

func (r *resolver) user(at string, f UserFile) User {
	if f.Username == "" {
		r.add(at+".username", "is required")
	}
	r.text(at+".username", f.Username)
	if problem := hashProblem(f.PasswordHash); problem != "" {
		r.add(at+".passwordHash", "%s", problem)
	}
	if f.Email != "" {
		address, err := mail.ParseAddress(f.Email)
		if err != nil || address.Address != f.Email || len(f.Email) > maxText {
			r.add(at+".email", `%s is not an e-mail address such as "jane@example.com"`, show(f.Email))
		}
	}
	r.text(at+".name", f.Name)
	r.groups(at+".groups", f.Groups)
	return User{f.Username, NewSecret(f.PasswordHash), f.Email, f.Name, f.Groups}
}

var bcryptHash = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// hashProblem says what is wrong with a hash, never showing it: it may be the
// password itself.
func hashProblem(hash string) string {
	if hash == "" {
		return "is required"
	}
	if strings.HasPrefix(hash, "$argon2") {
		_, problem := ParseArgon2id(hash)
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

// Argon2id is a hash in the PHC string format, taken apart.
type Argon2id struct {
	Memory, Time uint32 // KiB, passes
	Threads      uint8
	Salt, Sum    []byte
}

var argon2Hash = regexp.MustCompile(`^\$argon2id\$v=19\$m=([0-9]{1,7}),t=([0-9]{1,3}),p=([0-9]{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$`)

// ParseArgon2id takes a hash apart, or says what is wrong with it. The least is
// what OWASP's password storage cheat sheet asks for; the most is what a sign-in
// page may take of a small container.
func ParseArgon2id(hash string) (Argon2id, string) {
	const shape = "is not an argon2id hash such as $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH; `mcp-forward-auth hash-password -argon2id` makes one"
	m := argon2Hash.FindStringSubmatch(hash)
	if m == nil {
		return Argon2id{}, shape
	}
	number := func(s string) uint32 { n, _ := strconv.ParseUint(s, 10, 32); return uint32(n) }
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(m[4])
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(m[5])
	a := Argon2id{Memory: number(m[1]), Time: number(m[2]), Threads: uint8(number(m[3])), Salt: salt, Sum: sum}
	switch {
	case err1 != nil || err2 != nil:
		return Argon2id{}, shape
	case a.Memory < 7168 || a.Time < 1 || uint64(a.Memory)*uint64(a.Time) < 5*7168:
		return Argon2id{}, "is an argon2id hash with too little memory or too few passes, such as m=19456,t=2,p=1 has"
	case a.Memory > 131072 || a.Time > 20 || a.Threads < 1 || a.Threads > 16 || uint64(a.Memory)*uint64(a.Time) > 4*131072:
		return Argon2id{}, "is an argon2id hash that takes too much memory or time to check; at most m=131072,t=4, and p=16"
	}
	return a, ""
}
