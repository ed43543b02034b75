package static

import (
	"encoding/base64"
	"regexp"
	"strconv"
)

// argon2idHash is a hash in the PHC string format, taken apart.
type argon2idHash struct {
	Memory, Time uint32 // KiB, passes
	Threads      uint8
	Salt, Sum    []byte
}

var argon2Hash = regexp.MustCompile(`^\$argon2id\$v=19\$m=([0-9]{1,7}),t=([0-9]{1,3}),p=([0-9]{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$`)

// parseArgon2id takes a hash apart, or says what is wrong with it. The least is
// what OWASP's password storage cheat sheet asks for; the most is what a sign-in
// page may take of a small container.
func parseArgon2id(hash string) (argon2idHash, string) {
	const shape = "is not an argon2id hash such as $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH; `mcp-forward-auth hash-password -argon2id` makes one"
	m := argon2Hash.FindStringSubmatch(hash)
	if m == nil {
		return argon2idHash{}, shape
	}
	number := func(s string) uint32 { n, _ := strconv.ParseUint(s, 10, 32); return uint32(n) }
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(m[4])
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(m[5])
	a := argon2idHash{Memory: number(m[1]), Time: number(m[2]), Threads: uint8(number(m[3])), Salt: salt, Sum: sum}
	switch {
	case err1 != nil || err2 != nil:
		return argon2idHash{}, shape
	case a.Memory < 7168 || a.Time < 1 || uint64(a.Memory)*uint64(a.Time) < 5*7168:
		return argon2idHash{}, "is an argon2id hash with too little memory or too few passes, such as m=19456,t=2,p=1 has"
	case a.Memory > 131072 || a.Time > 20 || a.Threads < 1 || a.Threads > 16 || uint64(a.Memory)*uint64(a.Time) > 4*131072:
		return argon2idHash{}, "is an argon2id hash that takes too much memory or time to check; at most m=131072,t=4, and p=16"
	}
	return a, ""
}
