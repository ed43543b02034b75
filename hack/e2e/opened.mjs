// Stands for the browser that a client opens: the person at PERSON signs in, and the
// browser goes back to the client.
//
//   PERSON=URL node opened.mjs URL
const [start] = process.argv.slice(2);
const answer = await fetch(process.env.PERSON, { method: 'POST', body: start });
const said = await answer.text();
if (!answer.ok) throw new Error(said);
await fetch(`${new URL(start).searchParams.get('redirect_uri')}?${said}`);
