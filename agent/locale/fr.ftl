title-transfer = { $file } ne peut pas aller vers { $place }
title-open = { $file } ne peut pas être ouvert par { $program }

why-ceiling = Ce fichier montre { $master } à la résolution « { $tier } » ; { $place } peut recevoir au plus « { $ceiling } ».
why-nothing = Ce fichier montre { $master }, et rien de ce qui est issu d’un original numérisé ne peut aller vers { $place }.
why-vault = Les originaux de « { $collection } » ne sont ouverts que par quelques programmes, et { $program } n’en fait pas partie.
why-area = Avec ce fichier, { $place } aurait reçu une plus grande part de { $master } que permis.
why-objects = Avec ce fichier, { $place } aurait reçu aujourd’hui plus d’objets que permis.
why-reason = Pour aller vers { $place }, il faut un motif, qui est enregistré ; aucun n’a été donné.
why-approval = Pour aller vers { $place }, il faut un motif qu’une autre personne a approuvé.
why-other = Ainsi le veut la règle en vigueur.
why-audit = Pour l’instant, c’est seulement enregistré : l’opération a eu lieu.

do-smaller = Enregistrez d’abord sur ce poste une copie avec { $limits }, puis copiez celle-ci.
do-export = Ou laissez faire Vitrine : { $command }
limit-megapixels = au plus { $megapixels } mégapixels
limit-scale = au plus { $percent } % de la largeur de l’original
limit-depth = au plus { $bits } bits par canal
limit-separator = { ", " }
do-justify = Dites pourquoi il doit y aller, puis réessayez : vitrine justify { $id } "la raison"
do-approval = Dites pourquoi il doit y aller ; une autre personne décide : vitrine justify { $id } "la raison"
do-ask = Demandez aux responsables de Vitrine si { $place } peut le recevoir.
do-ask-vault = Ouvrez-le avec un programme autorisé, ou adressez-vous aux responsables de Vitrine.
do-tomorrow = Réessayez demain, ou adressez-vous aux responsables de Vitrine.

and-more =
    { $count ->
        [one] { $title } (et un autre)
       *[other] { $title } (et { $count } autres)
    }

label-file = Fichier
label-master = Original
label-program = Programme
label-target = Vers
label-why = Pourquoi
label-do = À la place
label-record = Enregistré
label-id = Identifiant
none = Rien ne vous a été refusé depuis que l’agent tient le compte.
none-of-file = Rien ne vous a été refusé avec { $file }.

given = { $file } peut aller vers { $place } pendant { $minutes } minutes. Votre raison est enregistrée sous { $id }.

asked = Une autre personne doit approuver que { $file } aille vers { $place } pendant { $minutes } minutes. Votre raison est enregistrée sous { $id }.
title-approved = { $file } peut aller vers { $place }
approval-asking = L’approbation est demandée, mais le collecteur ne l’a pas encore reçue ; d’ici là, rien ne peut y aller. Nouvelles tentatives jusqu’à { $time }.
approval-pending = L’approbation est demandée. Vous serez prévenu sur le bureau et par vitrine why dès que quelqu’un aura répondu. Si personne n’a répondu avant { $time }, demandez de nouveau.
approval-approved = { $by } l’a approuvé : réessayez, jusqu’à { $time }.
approval-denied = { $by } ne l’a pas approuvé.
approval-expired = Personne n’a répondu à temps.
approval-failed = Personne n’a pu l’approuver : { $note }
approval-note = Remarque : { $note }
