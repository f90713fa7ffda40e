title-transfer = { $file } darf nicht nach { $place }
title-open = { $file } darf von { $program } nicht geöffnet werden

why-ceiling = Die Datei zeigt { $master } in der Auflösung „{ $tier }“; { $place } darf höchstens „{ $ceiling }“ erhalten.
why-nothing = Die Datei zeigt { $master }, und nichts, was aus einem Master entstanden ist, darf nach { $place }.
why-vault = Die Master von „{ $collection }“ werden nur von wenigen Programmen geöffnet, und { $program } gehört nicht dazu.
why-area = Damit wäre mehr von { $master } nach { $place } gelangt als erlaubt.
why-objects = Damit wären heute mehr Objekte nach { $place } gelangt als erlaubt.
why-reason = Nach { $place } darf das nur mit einer Begründung, die aufgezeichnet wird, und es wurde keine gegeben.
why-approval = Nach { $place } darf das nur mit einer Begründung, der jemand anderes zugestimmt hat.
why-other = So sieht es die Richtlinie vor.
why-audit = Vorerst wird das nur aufgezeichnet: Es ist durchgegangen.

do-smaller = Speichern Sie zuerst auf diesem Arbeitsplatz eine Kopie mit { $limits } und kopieren Sie diese.
do-export = Oder lassen Sie es Vitrine tun: { $command }
limit-megapixels = höchstens { $megapixels } Megapixeln
limit-scale = höchstens { $percent } % der Breite des Masters
limit-depth = höchstens { $bits } Bit pro Kanal
limit-separator = { ", " }
do-justify = Sagen Sie, warum es dorthin muss, und versuchen Sie es noch einmal: vitrine justify { $id } "der Grund"
do-approval = Sagen Sie, warum es dorthin muss; jemand anderes entscheidet: vitrine justify { $id } "der Grund"
do-ask = Fragen Sie die Betreuung von Vitrine, ob { $place } die Datei erhalten darf.
do-ask-vault = Öffnen Sie die Datei mit einem erlaubten Programm oder fragen Sie die Betreuung von Vitrine.
do-tomorrow = Versuchen Sie es morgen wieder oder fragen Sie die Betreuung von Vitrine.

and-more =
    { $count ->
        [one] { $title } (und eine weitere)
       *[other] { $title } (und { $count } weitere)
    }

label-file = Datei
label-master = Master
label-program = Programm
label-target = Nach
label-why = Warum
label-do = Stattdessen
label-record = Im Protokoll
label-id = Kennung
none = Ihnen wurde nichts verweigert, seit der Agent mitzählt.
none-of-file = Ihnen wurde mit { $file } nichts verweigert.

given = { $file } darf für { $minutes } Minuten nach { $place }. Ihr Grund ist unter { $id } aufgezeichnet.

asked = Jemand anderes muss zustimmen, dass { $file } für { $minutes } Minuten nach { $place } darf. Ihr Grund ist unter { $id } aufgezeichnet.
title-approved = { $file } darf nach { $place }
approval-asking = Die Zustimmung ist erbeten, aber der Kollektor hat die Anfrage noch nicht; bis dahin darf nichts dorthin. Es wird bis { $time } versucht.
approval-pending = Die Zustimmung ist erbeten. Sie hören es auf dem Bildschirm und mit vitrine why, sobald jemand geantwortet hat. Hat bis { $time } niemand geantwortet, fragen Sie noch einmal.
approval-approved = { $by } hat zugestimmt: Versuchen Sie es noch einmal, bis { $time }.
approval-denied = { $by } hat nicht zugestimmt.
approval-expired = Niemand hat rechtzeitig geantwortet.
approval-failed = Niemand konnte zustimmen: { $note }
approval-note = Anmerkung: { $note }
