// A real provider of OpenID Connect on this machine: node provider.mjs REDIRECT prints its address. Whatever password is
// given is right, and who is called `mei` looks after users.
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const redirect = process.argv[2];
const server = createServer();
await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
// Another name than the console's is another site.
const issuer = `http://localhost:${server.address().port}`;
const groups = { mei: ['vitrine-admins'], wen: ['staff', 'vitrine-analysts'] };
const provider = new Provider(issuer, {
  clients: [{ client_id: 'vitrine', client_secret: 'of this run alone', redirect_uris: [redirect] }],
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
  pkce: { required: () => true },
  cookies: { keys: ['of this run alone'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: `subject of ${id}`, preferred_username: id, groups: groups[id] ?? ['staff'] }),
  }),
});
server.on('request', provider.callback());
console.log(issuer);
