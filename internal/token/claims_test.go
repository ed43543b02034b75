package token

import (
	"encoding/json"
	"reflect"
	"testing"
)

// full are claims with every member, so that a member which parse does not know
// shows up here.
func full() Claims {
	c := Claims{IssuedAt: 1_800_000_000, Expires: 1_800_003_600}
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String {
			f.SetString("value of " + v.Type().Field(i).Name)
		}
	}
	return c
}

func TestParse(t *testing.T) {
	text, err := marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	var c Claims
	if !c.read(string(text)) || !reflect.DeepEqual(c, full()) {
		t.Errorf("what was written is not read the short way: %s", text)
	}
	odd := full()
	odd.Subject, odd.ClientID = "naïve \u2028 \"quoted\"", `https://client.example/a?b=1&c=\`
	text, err = marshal(odd)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := parse(text); err != nil || !reflect.DeepEqual(*c, odd) {
		t.Errorf("%s: %+v, %v", text, c, err)
	}
	for _, bad := range []string{``, `{`, `[]`, `{"iss":`, `{"iss":1}`, `{"exp":"1"}`, `{"exp":1.5}`, `{"exp":01}`, `{"exp":9999999999999999999}`, `{"iss":"a"}}`, `{"iss":"a",}`} {
		if c, err := parse([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, c)
		}
	}
}

// What is read the short way means the same to encoding/json.
func FuzzParse(f *testing.F) {
	text, err := marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"iss":"a","iss":"b","exp":0}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var short, long Claims
		if !short.read(string(b)) {
			return
		}
		if err := json.Unmarshal(b, &long); err != nil || !reflect.DeepEqual(short, long) {
			t.Fatalf("%q: %+v, want %+v, %v", b, short, long, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text, err := marshal(full())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
