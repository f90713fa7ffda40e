title-transfer = { $file } no puede ir a { $place }
title-open = { $program } no puede abrir { $file }

why-ceiling = Muestra { $master } con la resolución «{ $tier }»; { $place } puede recibir como máximo «{ $ceiling }».
why-nothing = Muestra { $master }, y nada de lo hecho a partir de un original digitalizado puede ir a { $place }.
why-vault = Solo unos pocos programas abren los originales de «{ $collection }», y { $program } no es uno de ellos.
why-area = Con este archivo, { $place } habría recibido una parte de { $master } mayor de la permitida.
why-objects = Con este archivo, { $place } habría recibido hoy más objetos de los permitidos.
why-reason = Solo puede ir a { $place } con un motivo, que queda registrado, y no se dio ninguno.
why-approval = Solo puede ir a { $place } con un motivo que otra persona haya aprobado.
why-other = Así lo dispone la política.
why-audit = Por ahora solo queda registrado: la operación se realizó.

do-smaller = Guarde primero en este equipo una copia de { $limits } y copie esa.
do-export = O deje que lo haga Vitrine: { $command }
limit-megapixels = como máximo { $megapixels } megapíxeles
limit-scale = como máximo el { $percent } % del ancho del original
limit-depth = como máximo { $bits } bits por canal
limit-separator = { ", " }
do-justify = Diga por qué tiene que ir allí e inténtelo de nuevo: vitrine justify { $id } "el motivo"
do-approval = Diga por qué tiene que ir allí; otra persona decide: vitrine justify { $id } "el motivo"
do-ask = Pregunte a los responsables de Vitrine si { $place } puede recibirlo.
do-ask-vault = Ábralo con un programa autorizado o pregunte a los responsables de Vitrine.
do-tomorrow = Inténtelo mañana o pregunte a los responsables de Vitrine.

and-more =
    { $count ->
        [one] { $title } (y uno más)
       *[other] { $title } (y { $count } más)
    }

label-file = Archivo
label-master = Original
label-program = Programa
label-target = Destino
label-why = Por qué
label-do = En su lugar
label-record = Registrado
label-id = ID
none = No se le ha denegado nada desde que el agente lleva la cuenta.
none-of-file = No se le ha denegado nada con { $file }.

given = { $file } puede ir a { $place } durante { $minutes } minutos. Su motivo queda registrado como { $id }.

asked = Otra persona tiene que aprobar que { $file } vaya a { $place } durante { $minutes } minutos. Su motivo queda registrado como { $id }.
title-approved = { $file } puede ir a { $place }
approval-asking = Se ha pedido la aprobación, pero el colector aún no la ha recibido; hasta entonces nada puede ir allí. Se intentará hasta { $time }.
approval-pending = Se ha pedido la aprobación. Se le avisará en el escritorio y con vitrine why cuando alguien responda. Si nadie responde antes de { $time }, pídala de nuevo.
approval-approved = { $by } lo ha aprobado: inténtelo de nuevo, hasta { $time }.
approval-denied = { $by } no lo ha aprobado.
approval-expired = Nadie ha respondido a tiempo.
approval-failed = Nadie ha podido aprobarlo: { $note }
approval-note = Nota: { $note }
