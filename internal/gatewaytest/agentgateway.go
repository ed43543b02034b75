// Package gatewaytest plays gateways that no test can run: what they send, and how
// they read the answers, by their source. It knows nothing of this service but its
// address.
package gatewaytest

import (
	_ "embed"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"
)

//go:embed testdata/ext_mcp.txtpb
var extMCPDescriptor []byte

// Agentgateway asks as agentgateway does, with the messages of its own descriptor.
type Agentgateway struct {
	t    testing.TB
	file protoreflect.FileDescriptor
	conn *grpc.ClientConn
}

// NewAgentgateway returns an agentgateway that asks over conn.
func NewAgentgateway(t testing.TB, conn *grpc.ClientConn) *Agentgateway {
	t.Helper()
	described := new(descriptorpb.FileDescriptorProto)
	if err := prototext.Unmarshal(extMCPDescriptor, described); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(described, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return &Agentgateway{t, file, conn}
}

// Message returns an empty message of that name.
func (g *Agentgateway) Message(name string) *dynamicpb.Message {
	return dynamicpb.NewMessage(g.file.Messages().ByName(protoreflect.Name(name)))
}

// Question makes an McpRequest or McpResponse; payload goes into its fourth field.
func (g *Agentgateway) Question(name, method, payload string, about map[string]any, services ...string) *dynamicpb.Message {
	g.t.Helper()
	m := g.Message(name)
	f := m.Descriptor().Fields()
	list := m.Mutable(f.ByName("service_names")).List()
	for _, s := range services {
		list.Append(protoreflect.ValueOfString(s))
	}
	m.Set(f.ByName("method"), protoreflect.ValueOfString(method))
	if about != nil {
		s, err := structpb.NewStruct(about)
		if err != nil {
			g.t.Fatal(err)
		}
		into := m.Mutable(f.ByName("metadata_context")).Message().Interface()
		raw, _ := proto.Marshal(s)
		if err := proto.Unmarshal(raw, into); err != nil {
			g.t.Fatal(err)
		}
	}
	if payload != "" {
		m.Set(f.ByNumber(4), protoreflect.ValueOfBytes([]byte(payload)))
	}
	return m
}

// Told is what agentgateway makes of an answer.
type Told struct {
	Result  string // pass, mutated or error; "" is a violation of the protocol
	Mutated string
	Code    string
	Reason  string
	Data    string
	Set     map[string]string
	Remove  []string
}

// Ask asks CheckRequest or CheckResponse.
func (g *Agentgateway) Ask(method string, q proto.Message) (out Told, err error) {
	g.t.Helper()
	d := g.file.Services().ByName("ExtMcp").Methods().ByName(protoreflect.Name(method))
	answer := dynamicpb.NewMessage(d.Output())
	if err := g.conn.Invoke(g.t.Context(), "/agentgateway.dev.ext_mcp.ExtMcp/"+method, q, answer); err != nil {
		return out, err
	}
	if len(answer.GetUnknown()) > 0 {
		g.t.Errorf("fields that agentgateway does not know: %x", answer.GetUnknown())
	}
	f := d.Output().Fields()
	if which := answer.WhichOneof(d.Output().Oneofs().ByName("result")); which != nil {
		out.Result = string(which.Name())
	}
	out.Mutated = string(answer.Get(f.ByName("mutated")).Bytes())
	e := answer.Get(f.ByName("error")).Message()
	ef := e.Descriptor().Fields()
	out.Code = string(ef.ByName("code").Enum().Values().ByNumber(e.Get(ef.ByName("code")).Enum()).Name())
	out.Reason, out.Data = e.Get(ef.ByName("reason")).String(), string(e.Get(ef.ByName("mcp_error")).Bytes())
	if hm := f.ByName("header_mutation"); hm != nil {
		change := answer.Get(hm).Message()
		cf := change.Descriptor().Fields()
		out.Set = map[string]string{}
		for i, set := 0, change.Get(cf.ByName("set")).List(); i < set.Len(); i++ {
			line := set.Get(i).Message()
			out.Set[line.Get(line.Descriptor().Fields().ByName("key")).String()] = string(line.Get(line.Descriptor().Fields().ByName("value")).Bytes())
		}
		for i, remove := 0, change.Get(cf.ByName("remove")).List(); i < remove.Len(); i++ {
			out.Remove = append(out.Remove, remove.Get(i).String())
		}
	}
	return out, nil
}
