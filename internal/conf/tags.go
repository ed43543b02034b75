package conf

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What holds for the value of a key stands in the tags of its field:
//
//	json     the key; a field without one is not part of the document
//	default  what an absent key means
//	enum     the values of a text, with spaces between
//	min, max bounds of a number or a duration; of a list max alone
//	check    names of checks: of a text those of words, of a list those of lists and "unique"
//	file     "line": the value is the name of a file, and the field, a Secret, its one line
//	like     a text that is mistaken for a number where it lacks quotes
//
// A tag that cannot be read is a mistake of the program, and panics.

// texts are the types that are written as text and hold something else.
var texts = map[reflect.Type]func(c *Check, at, text string, target reflect.Value, tag reflect.StructTag){
	reflect.TypeFor[time.Duration](): decodeDuration,
	reflect.TypeFor[netip.Prefix]():  decodePrefix,
	reflect.TypeFor[Secret]():        decodeSecret,
	reflect.TypeFor[[]byte]():        decodeAuthorities,
}

// IsText reports whether values of a type are text in the document.
func IsText(t reflect.Type) bool {
	_, ok := texts[t]
	return ok || t.Kind() == reflect.String
}

// words are the checks of a text.
var words = map[string]func(c *Check, at, text string){
	"text":    (*Check).Text,
	"https":   func(c *Check, at, text string) { c.SecureURL(at, text) },
	"address": (*Check).ServerAddress,
}

// lists are the checks of lists of texts.
var lists = map[string]func(c *Check, at string, list []string){
	"scopes":    (*Check).ScopeTokens,
	"patterns":  (*Check).NamePatterns,
	"addresses": (*Check).serverAddresses,
	"groups":    (*Check).Groups,
}

func decodeDuration(c *Check, at, text string, target reflect.Value, tag reflect.StructTag) {
	d, err := time.ParseDuration(text)
	if err != nil {
		c.addMalformed(at, `%s is not a duration such as "30m" or "1h"`, Show(text))
		return
	}
	target.SetInt(int64(d))
	least, most := tag.Get("min"), tag.Get("max")
	if least != "" && (d < number[time.Duration](least) || d > number[time.Duration](most)) {
		c.Add(at, "%s is not between %s and %s", Show(text), least, most)
	}
}

// decodePrefix reads a network as netip has it.
func decodePrefix(c *Check, at, text string, target reflect.Value, _ reflect.StructTag) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil, p.Addr().Is4In6():
		c.addMalformed(at, `%s is not a network such as "10.0.0.0/8" or "2001:db8::/32"`, Show(text))
	case p != p.Masked():
		c.addMalformed(at, "%s has bits beyond its length; did you mean %q?", Show(text), p.Masked())
	}
	target.Set(reflect.ValueOf(p))
}

func decodeSecret(c *Check, at, text string, target reflect.Value, tag reflect.StructTag) {
	if tag.Get("file") == "line" {
		target.Set(reflect.ValueOf(c.PasswordFile(at, text)))
		return
	}
	c.Inline = true
	target.Set(reflect.ValueOf(NewSecret(text)))
}

func decodeAuthorities(c *Check, at, text string, target reflect.Value, _ reflect.StructTag) {
	target.SetBytes(c.Authorities(at, text))
}

func (c *Check) checkText(at, text string, tag reflect.StructTag) {
	if enum := strings.Fields(tag.Get("enum")); len(enum) > 0 && text != "" && !slices.Contains(enum, text) {
		c.addMalformed(at, "%s is not one of %s", Show(text), Quoted(enum))
	}
	for name := range strings.FieldsSeq(tag.Get("check")) {
		if text != "" {
			words[name](c, at, text)
		}
	}
}

func (c *Check) checkNumber(at string, value float64, tag reflect.StructTag) {
	least, most := tag.Get("min"), tag.Get("max")
	if least != "" && (value < number[float64](least) || value > number[float64](most)) {
		c.Add(at, "%s is not between %s and %s", strconv.FormatFloat(value, 'f', -1, 64), least, most)
	}
}

// SetDefaults fills in what absent keys mean in the section that target points to.
func SetDefaults(target any) { setDefaults(reflect.ValueOf(target).Elem()) }

// setDefaults fills in what absent keys of a section mean.
func setDefaults(section reflect.Value) {
	for _, f := range fields(section.Type()) {
		field, standard := section.FieldByIndex(f.Index), f.Tag.Get("default")
		switch {
		case field.Kind() == reflect.Struct && texts[f.Type] == nil:
			setDefaults(field)
		case standard == "":
		case f.Type == reflect.TypeFor[time.Duration]():
			field.SetInt(int64(number[time.Duration](standard)))
		case field.Kind() == reflect.String:
			field.SetString(standard)
		case field.Kind() == reflect.Bool:
			field.SetBool(standard == "true")
		case field.Kind() == reflect.Int:
			field.SetInt(int64(number[int](standard)))
		case field.Kind() == reflect.Float64:
			field.SetFloat(number[float64](standard))
		default:
			panic("internal error: a default of kind " + field.Kind().String())
		}
	}
}

// number reads a tag.
func number[T int | float64 | time.Duration](tag string) T {
	var value any
	var err error
	switch any(*new(T)).(type) {
	case int:
		value, err = strconv.Atoi(tag)
	case float64:
		value, err = strconv.ParseFloat(tag, 64)
	case time.Duration:
		value, err = time.ParseDuration(tag)
	}
	if err != nil {
		panic(fmt.Sprintf("internal error: tag %q: %v", tag, err))
	}
	return value.(T)
}
