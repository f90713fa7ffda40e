title-transfer = { $file } non può andare a { $place }
title-open = { $program } non può aprire { $file }

why-ceiling = Mostra { $master } alla risoluzione «{ $tier }»; { $place } può ricevere al massimo «{ $ceiling }».
why-nothing = Mostra { $master }, e niente di ciò che deriva da un originale digitalizzato può andare a { $place }.
why-vault = Gli originali di «{ $collection }» sono aperti solo da pochi programmi, e { $program } non è tra questi.
why-area = Con questo file, { $place } avrebbe ricevuto una parte di { $master } maggiore del consentito.
why-objects = Con questo file, { $place } avrebbe ricevuto oggi più oggetti del consentito.
why-reason = Può andare a { $place } solo con una motivazione, che viene registrata, e non ne è stata data nessuna.
why-approval = Può andare a { $place } solo con una motivazione che un’altra persona ha approvato.
why-other = Così prevede la regola in vigore.
why-audit = Per ora viene solo registrato: l’operazione è riuscita.

do-smaller = Salvare prima su questa postazione una copia di { $limits } e copiare quella.
do-export = Oppure lasciar fare a Vitrine: { $command }
limit-megapixels = al massimo { $megapixels } megapixel
limit-scale = al massimo il { $percent } % della larghezza dell’originale
limit-depth = al massimo { $bits } bit per canale
limit-separator = { ", " }
do-justify = Dica perché deve andarci e riprovi: vitrine justify { $id } "il motivo"
do-approval = Dica perché deve andarci; decide un’altra persona: vitrine justify { $id } "il motivo"
do-ask = Chiedere ai responsabili di Vitrine se { $place } può riceverlo.
do-ask-vault = Aprirlo con un programma autorizzato o chiedere ai responsabili di Vitrine.
do-tomorrow = Riprovare domani o chiedere ai responsabili di Vitrine.

and-more =
    { $count ->
        [one] { $title } (e un altro)
       *[other] { $title } (e altri { $count })
    }

label-file = File
label-master = Originale
label-program = Programma
label-target = Verso
label-why = Perché
label-do = Invece
label-record = Registrato
label-id = ID
none = Non è stato rifiutato nulla da quando l’agente tiene il conto.
none-of-file = Non è stato rifiutato nulla con { $file }.

given = { $file } può andare in { $place } per { $minutes } minuti. Il suo motivo è registrato come { $id }.

asked = Un’altra persona deve approvare che { $file } vada in { $place } per { $minutes } minuti. Il suo motivo è registrato come { $id }.
title-approved = { $file } può andare in { $place }
approval-asking = L’approvazione è stata chiesta, ma il collettore non l’ha ancora ricevuta; fino ad allora nulla può andarci. Si riprova fino a { $time }.
approval-pending = L’approvazione è stata chiesta. Sarà avvisato sul desktop e da vitrine why quando qualcuno avrà risposto. Se nessuno risponde entro { $time }, la chieda di nuovo.
approval-approved = { $by } ha approvato: riprovi, fino a { $time }.
approval-denied = { $by } non ha approvato.
approval-expired = Nessuno ha risposto in tempo.
approval-failed = Nessuno ha potuto approvare: { $note }
approval-note = Nota: { $note }
